import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cifarops.bundle.signature import Signatures
from cifarops.ledger.records import Canary, Decision, Shadow
from cifarops.ledger.store import Ledger
from cifarops.serving import router as router_module
from cifarops.serving.metrics import Metrics
from cifarops.serving.router import Route, Router, percentile
from tests.support.bundles import colour_bundle, unloadable_bundle
from tests.support.serving import set_version, settings_of


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("production", "0")


def signatures(workspace: Path) -> Signatures:
    return Signatures.of(settings_of(workspace))


@pytest.fixture
def router(tmp_path: Path, metrics: Metrics) -> Iterator[Router]:
    with Router(
        "production",
        ledger=tmp_path / "ledger.db",
        bundles=tmp_path / "bundles",
        signatures=signatures(tmp_path),
        metrics=metrics,
    ) as opened:
        yield opened


def version_of(route: Route) -> int | None:
    return route.engine.version if route.engine else None


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_is_ready_at_once_with_what_was_promoted_before(tmp_path: Path, metrics: Metrics) -> None:
    ledger, bundles = tmp_path / "ledger.db", tmp_path / "bundles"
    set_version(ledger, 3, colour_bundle(bundles))
    with Router(
        "production", ledger=ledger, bundles=bundles, signatures=signatures(tmp_path), metrics=metrics
    ) as router:
        assert version_of(router.route) == 3
        assert (router.route.generation, router.route.wanted, router.route.error) == (1, 1, None)


def test_it_follows_its_own_environment_only(router: Router, tmp_path: Path) -> None:
    assert router.route == Route()
    set_version(tmp_path / "ledger.db", 1, colour_bundle(tmp_path / "bundles"), "staging")
    set_version(tmp_path / "ledger.db", 2, colour_bundle(tmp_path / "bundles"))
    eventually(lambda: version_of(router.route) == 2)


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(router: Router, tmp_path: Path) -> None:
    ledger, bundles = tmp_path / "ledger.db", tmp_path / "bundles"
    set_version(ledger, 1, colour_bundle(bundles))
    eventually(lambda: version_of(router.route) == 1)
    set_version(ledger, 2, unloadable_bundle(bundles))
    eventually(lambda: router.route.wanted == 2)
    assert version_of(router.route) == 1
    assert router.route.generation == 1
    assert router.route.error is not None
    assert "can't load" in router.route.error
    set_version(ledger, 3, colour_bundle(bundles, rotation=1))
    eventually(lambda: version_of(router.route) == 3)
    assert router.route.error is None


def test_a_repaired_bundle_is_tried_again(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "_RETRY_SECONDS", 0.1)
    bundle = colour_bundle(tmp_path / "bundles")
    whole = bundle.model_path.read_bytes()
    bundle.model_path.write_bytes(b"")
    set_version(tmp_path / "ledger.db", 1, bundle)
    eventually(lambda: router.route.error is not None)
    assert router.route.engine is None
    bundle.model_path.write_bytes(whole)
    eventually(lambda: version_of(router.route) == 1)


def test_an_unreadable_ledger_is_reported_until_it_is_repaired(tmp_path: Path, metrics: Metrics) -> None:
    ledger, bundles = tmp_path / "ledger.db", tmp_path / "bundles"
    set_version(ledger, 1, colour_bundle(bundles))
    whole = ledger.read_bytes()
    ledger.write_bytes(b"no ledger at all" * 1000)
    with Router(
        "production", ledger=ledger, bundles=bundles, signatures=signatures(tmp_path), metrics=metrics
    ) as router:
        assert router.route.error is not None
        assert "ledger" in router.route.error
        ledger.write_bytes(whole)
        eventually(lambda: version_of(router.route) == 1)
        assert router.route.error is None


def test_swaps_and_failures_are_counted(router: Router, metrics: Metrics, tmp_path: Path) -> None:
    ledger, bundles = tmp_path / "ledger.db", tmp_path / "bundles"
    set_version(ledger, 8, colour_bundle(bundles))
    eventually(lambda: version_of(router.route) == 8)
    set_version(ledger, 9, unloadable_bundle(bundles))
    eventually(lambda: router.route.error is not None)
    text = metrics.exposition().decode()
    assert "cifarops_swaps_total 1.0" in text
    assert "cifarops_load_failures_total 1.0" in text
    assert "cifarops_model_version 8.0" in text


def test_a_server_of_a_code_release_follows_only_what_is_to_run_with_its_code(
    tmp_path: Path, metrics: Metrics
) -> None:
    path, bundles = tmp_path / "ledger.db", tmp_path / "bundles"
    mine, other = "1" * 64, "2" * 64

    def change(version: int, code: str | None) -> int:
        with Ledger(path) as ledger:
            seen = ledger.environment("production")
            digest = colour_bundle(bundles).digest
            signatures(tmp_path).sign(digest, "production")
            wanted = replace(seen, version=version, digest=digest, code=code)
            return ledger.swap(seen, wanted, Decision("release", "production", version, "ada", "")).generation

    change(1, mine)
    with Router(
        "production",
        ledger=path,
        bundles=bundles,
        signatures=signatures(tmp_path),
        metrics=metrics,
        code=mine,
    ) as router:
        assert version_of(router.route) == 1
        for code in (other, None):
            wanted = change(2, code)
            eventually(lambda wanted=wanted: router.route.wanted == wanted)  # type: ignore[misc]
            assert version_of(router.route) == 1
            assert "This server runs code 111111111111" in str(router.route.error)
        change(3, mine)
        eventually(lambda: version_of(router.route) == 3)
        assert router.route.error is None


def set_beside(path: Path, canary: Canary | None = None, shadow: Shadow | None = None) -> int:
    for beside in (canary, shadow):
        if beside is not None:
            signatures(path.parent).sign(beside.digest, "production")
    with Ledger(path) as ledger:
        seen = ledger.environment("production")
        why = Decision("canary", "production", None, "ada", "")
        return ledger.swap(seen, replace(seen, canary=canary, shadow=shadow), why).generation


def test_a_canary_and_a_shadow_run_beside_and_a_loaded_version_is_not_loaded_again(
    router: Router, tmp_path: Path, metrics: Metrics
) -> None:
    path, bundles = tmp_path / "ledger.db", tmp_path / "bundles"
    one, two, three = (colour_bundle(bundles, rotation=n) for n in range(3))
    set_version(path, 1, one)
    eventually(lambda: version_of(router.route) == 1)
    stable = router.route.engine
    generation = set_beside(path, Canary(2, two.digest, 30.0, 0.0), Shadow(3, three.digest, 0.0))
    eventually(lambda: router.route.generation == generation)
    canary, shadow = router.route.canary, router.route.shadow
    assert router.route.engine is stable
    assert (canary and canary.version, shadow and shadow.version) == (2, 3)
    text = metrics.exposition().decode()
    assert 'cifarops_beside_version{role="canary"} 2.0' in text
    assert "cifarops_swaps_total 1.0" in text
    set_version(path, 2, two)
    eventually(lambda: version_of(router.route) == 2)
    assert router.route.engine is canary
    assert (router.route.canary, router.route.shadow) == (None, shadow)


def test_a_canary_that_cannot_be_loaded_leaves_the_stable_version_and_is_tried_again(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "_RETRY_SECONDS", 0.1)
    path, bundles = tmp_path / "ledger.db", tmp_path / "bundles"
    set_version(path, 1, colour_bundle(bundles))
    bundle = colour_bundle(bundles, rotation=1)
    whole = bundle.model_path.read_bytes()
    bundle.model_path.write_bytes(b"")
    generation = set_beside(path, Canary(2, bundle.digest, 30.0, 0.0))
    eventually(lambda: router.route.generation == generation)
    assert (version_of(router.route), router.route.canary, router.route.error) == (1, None, None)
    assert "The canary, version 2, does not run: " in str(router.route.beside_error)
    bundle.model_path.write_bytes(whole)
    eventually(lambda: router.route.canary is not None)
    assert router.route.beside_error is None


def test_a_key_stays_with_its_version_and_the_share_of_keys_is_the_one_asked_for(
    router: Router, tmp_path: Path
) -> None:
    path, bundles = tmp_path / "ledger.db", tmp_path / "bundles"
    one, two = (colour_bundle(bundles, rotation=n) for n in range(2))
    assert router.route.assign("a") is None
    set_version(path, 1, one)
    keys = [f"client {n}" for n in range(2000)]

    def with_canary(percent: float) -> set[str]:
        generation = set_beside(path, Canary(2, two.digest, percent, 0.0))
        eventually(lambda: router.route.generation == generation)
        found = {key: router.route.assign(key) for key in keys}
        for assignment in found.values():
            assert assignment is not None
            assert assignment.compared
            assert (assignment.fallback is None) == (assignment.engine.version == 1)
        return {key for key, each in found.items() if each is not None and each.engine.version == 2}

    ten, twenty = with_canary(10), with_canary(20)
    assert ten < twenty
    assert 150 < len(ten) < 250
    assert 340 < len(twenty) < 460
    nobody = router.route.assign(None)
    assert nobody is not None
    assert nobody.engine.version == 1
    other = {key for key in keys if percentile(key, one.digest) < 20}
    assert other not in (ten, twenty)


def test_a_version_that_the_environments_key_has_not_signed_is_refused(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "_RETRY_SECONDS", 0.1)
    ledger, bundles = tmp_path / "ledger.db", tmp_path / "bundles"
    set_version(ledger, 1, colour_bundle(bundles))
    eventually(lambda: version_of(router.route) == 1)
    other = colour_bundle(bundles, rotation=1)
    set_version(ledger, 2, other)
    eventually(lambda: version_of(router.route) == 2)
    unsigned = colour_bundle(bundles, rotation=2)
    key = next(iter(signatures(tmp_path).keys.public("production")))
    signatures(tmp_path).keys.revoke("production", key)
    with Ledger(ledger) as opened:
        seen = opened.environment("production")
        for digest, why in ((unsigned.digest, "is not signed"), (other.digest, "not trusted")):
            wanted = replace(seen, version=4, digest=digest)
            seen = opened.swap(seen, wanted, Decision("promote", "production", 4, "eve", ""))
            eventually(lambda why=why: why in str(router.route.error))  # type: ignore[misc]
    assert version_of(router.route) != 4
    signatures(tmp_path).keys.rotate("production")
    signatures(tmp_path).sign(other.digest, "production")
    eventually(lambda: version_of(router.route) == 4)
