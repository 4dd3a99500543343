"""What the pipeline asks before production is replaced: shadow traffic, and the replacement in a scratch workspace."""

import json
from collections.abc import Iterator

import pytest

from cifarops.bundle.store import Bundle, write_bundle
from cifarops.data.snapshot import SourceInfo, write_snapshot
from cifarops.deployment.code import CodeRelease, build_code
from cifarops.deployment.deploy import deploy_release, stop
from cifarops.errors import CifaropsError, UsageError
from cifarops.ledger.records import EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry
from cifarops.settings import Settings
from cifarops.simulation.replacement import rehearse
from cifarops.simulation.shadow import shadow
from tests.support.bundles import COLOURS, colour_bundle
from tests.support.registry import register
from tests.support.releases import checkout, release_of, variant
from tests.support.serving import settings_of
from tests.support.snapshots import colour_arrays

pytestmark = [pytest.mark.e2e, pytest.mark.promise("B11", "B13", "B15")]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_of(tmp_path_factory.mktemp("ws"))


@pytest.fixture(scope="module")
def code(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> CodeRelease:
    source = tmp_path_factory.mktemp("source") / "checkout"
    checkout(source)
    return build_code(source, releases=settings.releases)


@pytest.fixture(scope="module")
def bundles(settings: Settings) -> list[Bundle]:
    """A good model and one that names the wrong colour, both registered, trained on real-looking images."""
    plain = [colour_bundle(settings.bundles, rotation=rotation) for rotation in (0, 1)]
    splits = {split: colour_arrays(300, seed=seed) for seed, split in enumerate(("train", "valid", "test"))}
    snapshot = write_snapshot(
        settings.snapshots,
        splits,  # type: ignore[arg-type]
        classes=COLOURS,
        preprocessing=plain[0].manifest.preprocessing,
        source=SourceInfo(kind="folder", name="colours", sha256="0" * 64),
        seed=0,
    )
    registry = Registry.of(settings)
    made = []
    for each in plain:
        files = {name: (each.path / name).read_bytes() for name in each.manifest.files}
        manifest = each.manifest.model_copy(update={"snapshot": snapshot.id})
        made.append(
            write_bundle(settings.bundles, files, lambda _, manifest=manifest: manifest)  # type: ignore[misc]
        )
        register(registry, made[-1])
    return made


@pytest.fixture(autouse=True)
def stopped(settings: Settings) -> Iterator[None]:
    yield
    with Ledger(settings.ledger) as ledger:
        for environment in ("staging", "production"):
            stop(environment, ledger=ledger, settings=settings, reason="test")


def deploy(settings: Settings, code: CodeRelease, bundle: Bundle, *environments: EnvironmentName) -> None:
    with Ledger(settings.ledger) as ledger:
        for environment in environments:
            deploy_release(
                release_of(code, bundle.digest),
                environment,
                ledger=ledger,
                registry=Registry.of(settings),
                settings=settings,
                reason="test",
                watch_s=0.5,
            )


def test_staging_is_compared_with_productions_model(
    settings: Settings, code: CodeRelease, bundles: list[Bundle]
) -> None:
    good, wrong = bundles
    deploy(settings, code, good, "staging")
    alone = shadow("staging", settings=settings, requests=60)
    assert (alone["sent"], alone["accuracy"], alone["difference"]) == (60, 1.0, None)

    deploy(settings, code, good, "production")
    with Ledger(settings.ledger) as ledger:
        before = len(ledger.window("production", last=1000))
    same = shadow("staging", settings=settings, requests=60)
    assert (same["agreement"], same["difference"]["value"]) == (1.0, 0.0)
    json.dumps(same)
    with Ledger(settings.ledger) as ledger:
        assert len(ledger.window("production", last=1000)) == before, "production must not see the requests"

    deploy(settings, code, wrong, "staging")
    with pytest.raises(CifaropsError, match=r"staging is surely worse than production: .* -100\.0 points"):
        shadow("staging", settings=settings, requests=60)


def test_the_replacement_is_rehearsed_without_touching_production(
    settings: Settings, code: CodeRelease, bundles: list[Bundle]
) -> None:
    good, other = bundles
    newer = variant(code, "serving/app.py", '"""', '"""New. ')
    deploy(settings, code, good, "staging", "production")
    with Ledger(settings.ledger) as ledger:
        before = ledger.environment("production"), ledger.decisions(last=10_000)
    done = rehearse(release_of(newer, other.digest, "1.1.0"), settings=settings)
    assert done["replaced"] == {"bundle": good.digest, "code": code.sha256}
    assert done["answered"] > 100
    assert done["failed"] == 0
    with Ledger(settings.ledger) as ledger:
        assert (ledger.environment("production"), ledger.decisions(last=10_000)) == before

    broken = variant(code, "serving/app.py", '"""The HTTP', 'raise RuntimeError("broken")\n"""The HTTP')
    with pytest.raises(CifaropsError, match="broken"):
        rehearse(release_of(broken, good.digest, "1.1.0"), settings=settings)


def test_a_release_of_an_unknown_model_is_refused(settings: Settings, code: CodeRelease) -> None:
    with pytest.raises(UsageError, match="registry has no model ffffffffffff"):
        rehearse(release_of(code, "f" * 64), settings=settings)
