import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cifarops.errors import IntegrityError
from cifarops.ledger.records import Attempt, Canary, Decision, EnvironmentState, Prediction, Shadow, Shadowed
from cifarops.ledger.store import Ledger

_P = np.array([0.75, 0.25], np.float32)
_WHY = Decision("canary", "production", 2, "ada", "try it")


def prediction(key: str, version: int, label: int) -> Prediction:
    return Prediction(key, 5.0, "production", version, label, _P, classes=("cat", "dog"))


def shadowed(key: str, version: int, label: int, at: float = 5.0) -> Shadowed:
    return Shadowed(key, at, "production", version, label, _P)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


def test_attempts_come_back_in_order_from_a_time_on(ledger: Ledger) -> None:
    ledger.add_records(
        [
            Attempt(4.0, "production", 1, True, 0.5),
            Attempt(5.0, "production", 2, True, 0.25),
            prediction("a", 1, 0),
            Attempt(6.0, "production", 1, False, 0.125),
            Attempt(6.0, "staging", 1, False, 1.0),
        ]
    )
    found = ledger.attempts("production", since=5.0)
    assert found.versions.tolist() == [2, 1]
    assert found.failed.tolist() == [True, False]
    assert found.seconds.tolist() == [0.25, 0.125]
    assert len(ledger.attempts("development", since=0).failed) == 0
    assert ledger.window("production", last=9).ids == ("a",)


def test_pairs_are_what_one_version_answered_and_the_other_shadowed(ledger: Ledger) -> None:
    ledger.add_records([prediction("a", 2, 0), prediction("b", 2, 1), prediction("c", 1, 1)])
    ledger.add_records(
        [
            shadowed("b", 1, 0),
            shadowed("a", 1, 0),
            shadowed("c", 2, 0),
            shadowed("a", 3, 1),
            shadowed("a", 1, 1, at=4.0),
            shadowed("never answered", 1, 1),
        ]
    )
    ledger.add_feedback("b", 0)
    found = ledger.pairs("production", answered_by=2, shadowed_by=1, since=5.0)
    assert found.answered.tolist() == [1, 0]
    assert found.shadowed.tolist() == [0, 0]
    assert found.truth.tolist() == [0, -1]
    assert len(ledger.pairs("staging", answered_by=2, shadowed_by=1, since=0).truth) == 0


def test_a_batch_is_written_whole_or_not_at_all(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError):
        ledger.add_records(
            [Attempt(1.0, "production", 1, False, 0.1), prediction("a", 1, 0), prediction("a", 1, 0)]
        )
    assert len(ledger.attempts("production", since=0).failed) == 0


def test_what_runs_beside_is_part_of_the_state_and_survives(ledger: Ledger) -> None:
    wanted = EnvironmentState(
        "production", version=1, digest="d1", canary=Canary(2, "d2", 10.0, 1.5), shadow=Shadow(3, "d3", 2.5)
    )
    made = ledger.swap(EnvironmentState("production"), wanted, _WHY)
    with Ledger(ledger.path) as again:
        assert again.environment("production") == made == replace(wanted, generation=1, since=made.since)


def test_a_new_stable_version_ends_the_canary_and_a_shadow_that_would_repeat_it() -> None:
    seen = EnvironmentState(
        "production",
        version=1,
        digest="d1",
        code="c",
        canary=Canary(2, "d2", 10.0, 1.5),
        shadow=Shadow(3, "d3", 2.5),
    )
    promoted = seen.taking(2, "d2")
    assert (promoted.version, promoted.digest, promoted.previous_version, promoted.previous_digest) == (
        2,
        "d2",
        1,
        "d1",
    )
    assert (promoted.canary, promoted.shadow, promoted.code) == (None, seen.shadow, "c")
    assert seen.taking(3, "d3").shadow is None


def test_a_ledger_without_these_columns_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    with sqlite3.connect(path) as connection:
        for column in ("canary", "shadow"):
            connection.execute(f"ALTER TABLE environments DROP COLUMN {column}")
        connection.execute(
            "INSERT INTO environments (name, generation, version, digest, since) VALUES ('production', 3, 1, 'd1', 1.0)"
        )
    with Ledger(path) as ledger:
        seen = ledger.environment("production")
        assert (seen.generation, seen.canary, seen.shadow) == (3, None, None)
        wanted = replace(seen, canary=Canary(2, "d2", 10.0, 1.5))
        assert ledger.swap(seen, wanted, _WHY).canary == wanted.canary
