import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from cifarops.deployment.aliases import UnopenedRegistry
from cifarops.deployment.rollout import Rollout, promote, rollback
from cifarops.errors import CifaropsError, ConflictError, IntegrityError, UsageError
from cifarops.ledger.records import EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry
from tests.support.bundles import colour_bundle, unloadable_bundle
from tests.support.registry import register
from tests.support.serving import settings_of


@pytest.fixture
def versions(registry: Registry, tmp_path: Path) -> list[int]:
    return [register(registry, colour_bundle(tmp_path / "bundles", rotation=k)) for k in range(3)]


def put(
    environment: EnvironmentName,
    version: int,
    ledger: Ledger,
    registry: Registry,
    expected: int | None = None,
) -> Rollout:
    return promote(
        environment,
        version,
        ledger=ledger,
        registry=registry,
        actor="ada",
        reason="because",
        expected=expected,
    )


def test_promotion_sets_the_environment_the_history_and_the_aliases(
    ledger: Ledger, registry: Registry, versions: list[int]
) -> None:
    put("staging", 1, ledger, registry)
    put("production", 1, ledger, registry)
    put("staging", 2, ledger, registry)
    result = put("production", 2, ledger, registry, expected=1)
    state = ledger.environment("production")
    assert result == Rollout(state)
    assert (state.version, state.previous_version, state.generation) == (2, 1, 2)
    assert state.digest == registry.version(2).digest
    assert state.previous_digest == registry.version(1).digest
    newest = ledger.decisions(environment="production")[-1]
    assert (newest.kind, newest.version, newest.actor, newest.reason) == ("promote", 2, "ada", "because")
    assert newest.evidence["preflight"]["images"] == 64
    assert registry.version(2).aliases == ("production", "staging")
    assert registry.version(1).aliases == ("previous",)


def test_promoting_what_runs_changes_nothing(ledger: Ledger, registry: Registry, versions: list[int]) -> None:
    first = put("staging", 1, ledger, registry)
    assert put("staging", 1, ledger, registry).state == first.state
    assert ledger.count_decisions("promote") == 1


def test_what_runs_is_verified_when_it_is_promoted_again(
    ledger: Ledger, registry: Registry, versions: list[int]
) -> None:
    put("staging", 1, ledger, registry)
    (registry.bundle(1).path / "model.onnx").write_bytes(b"something else")
    with pytest.raises(IntegrityError):
        put("staging", 1, ledger, registry)


def test_a_number_that_stands_for_another_model_is_refused(
    ledger: Ledger, registry: Registry, versions: list[int], empty_registry: Path, tmp_path: Path
) -> None:
    put("staging", 1, ledger, registry)
    shutil.copy(empty_registry, tmp_path / "new.db")
    anew = Registry.of(replace(settings_of(tmp_path), tracking_uri=f"sqlite:///{tmp_path / 'new.db'}"))
    assert register(anew, registry.bundle(2)) == 1
    with pytest.raises(ConflictError, match="made anew"):
        put("staging", 1, ledger, anew)
    assert ledger.environment("staging").digest == registry.version(1).digest


def test_production_takes_only_what_was_on_staging(
    ledger: Ledger, registry: Registry, versions: list[int]
) -> None:
    with pytest.raises(UsageError, match="never ran on staging") as caught:
        put("production", 1, ledger, registry)
    assert "deploy promote 1 --to staging" in caught.value.fix
    put("staging", 1, ledger, registry)
    put("staging", 2, ledger, registry)
    assert put("production", 1, ledger, registry).state.version == 1


def test_a_wrong_expectation_is_a_conflict(ledger: Ledger, registry: Registry, versions: list[int]) -> None:
    put("staging", 1, ledger, registry)
    with pytest.raises(ConflictError, match="runs version 1, not 3"):
        put("staging", 2, ledger, registry, expected=3)
    assert ledger.environment("staging").version == 1


def test_an_unknown_version_is_refused(ledger: Ledger, registry: Registry, versions: list[int]) -> None:
    with pytest.raises(UsageError, match="no version 99"):
        put("staging", 99, ledger, registry)
    assert ledger.environment("staging").generation == 0


def test_a_verdict_other_than_promote_is_refused(
    ledger: Ledger, registry: Registry, versions: list[int], tmp_path: Path
) -> None:
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    client.set_model_version_tag("cifarops", "2", "verdict", "inconclusive")
    with pytest.raises(UsageError, match="verdict on version 2 is inconclusive"):
        put("staging", 2, ledger, registry)


def test_a_damaged_bundle_is_refused_before_the_swap(
    ledger: Ledger, registry: Registry, versions: list[int]
) -> None:
    model = registry.bundle(2).model_path
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match=r"model\.onnx is missing or altered"):
        put("staging", 2, ledger, registry)
    assert ledger.environment("staging").generation == 0


@pytest.mark.parametrize("kind", ["unloadable", "shape"])
def test_a_model_that_cannot_answer_fails_the_preflight(
    ledger: Ledger, registry: Registry, tmp_path: Path, kind: str
) -> None:
    root = tmp_path / "bundles"
    bundle = unloadable_bundle(root) if kind == "unloadable" else colour_bundle(root, outputs=4)
    number = register(registry, bundle)
    with pytest.raises(IntegrityError, match=r"can't load|shape"):
        put("staging", number, ledger, registry)
    assert ledger.environment("staging").generation == 0


def test_of_two_promotions_at_once_one_wins(registry: Registry, versions: list[int], tmp_path: Path) -> None:
    outcomes: list[object] = []
    together = threading.Barrier(2)

    def run(version: int) -> None:
        with Ledger(tmp_path / "ledger.db") as mine:
            together.wait()
            try:
                outcomes.append(put("staging", version, mine, registry, expected=None).state.version)
            except CifaropsError as error:
                outcomes.append(error)

    with Ledger(tmp_path / "ledger.db") as ledger:
        put("staging", 1, ledger, registry)
        threads = [threading.Thread(target=run, args=(version,)) for version in (2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [outcome for outcome in outcomes if isinstance(outcome, int)]
        losers = [outcome for outcome in outcomes if not isinstance(outcome, int)]
        assert all(isinstance(loser, ConflictError) for loser in losers)
        state = ledger.environment("staging")
    assert state.version in winners
    assert state.generation == 1 + len(winners)


def test_rollback_returns_once(ledger: Ledger, registry: Registry, versions: list[int]) -> None:
    put("staging", 1, ledger, registry)
    put("staging", 2, ledger, registry)
    state = rollback("staging", ledger=ledger, registry=registry, actor="ada", reason="bad").state
    assert (state.version, state.previous_version) == (1, None)
    newest = ledger.decisions(environment="staging")[-1]
    assert (newest.kind, newest.version, newest.evidence["from"]) == ("rollback", 1, 2)
    assert "staging" in registry.version(1).aliases
    with pytest.raises(UsageError, match="no previous version"):
        rollback("staging", ledger=ledger, registry=registry, actor="ada", reason="again")


def test_rollback_works_without_the_registry(
    ledger: Ledger, registry: Registry, versions: list[int], tmp_path: Path
) -> None:
    put("staging", 1, ledger, registry)
    put("staging", 2, ledger, registry)
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"this is not SQLite" * 100)
    result = rollback(
        "staging",
        ledger=ledger,
        registry=UnopenedRegistry(replace(settings_of(tmp_path), tracking_uri=f"sqlite:///{damaged}")),
        actor="ada",
        reason="bad",
    )
    assert ledger.environment("staging").version == result.state.version == 1
    assert result.warning is not None
    assert "aliases are out of date" in result.warning
