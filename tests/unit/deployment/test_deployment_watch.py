from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarops.config import MonitorParams
from cifarops.deployment.aliases import UnopenedRegistry
from cifarops.deployment.watch import Record, accuracy_difference, judge, watch
from cifarops.ledger.records import Prediction
from cifarops.ledger.store import Ledger
from tests.support.bundles import colour_bundle
from tests.support.serving import set_version, settings_of

PARAMS = MonitorParams(window=400, drift_alpha=0.001, max_accuracy_drop=0.05, min_labels=100)


@pytest.mark.parametrize(
    ("current", "previous", "verdict"),
    [
        (Record(2, 99, 99), Record(1, 300, 400), "undecided"),
        (Record(2, 300, 400), Record(1, 0, 0), "undecided"),
        (Record(2, 240, 400), Record(1, 360, 400), "roll back"),
        (Record(2, 390, 400), Record(1, 360, 400), "keep"),
        (Record(2, 355, 400), Record(1, 360, 400), "undecided"),
        (Record(2, 3550, 4000), Record(1, 3600, 4000), "keep"),
    ],
)
def test_the_verdict_follows_the_difference(current: Record, previous: Record, verdict: str) -> None:
    assert judge("production", current, previous, PARAMS).verdict == verdict


def test_newcombe_interval_matches_the_published_example() -> None:
    # Newcombe 1998, table II, example (a): 56/70 − 48/80 = 0.2, method 10 gives 0.0524 to 0.3339 at 95 %.
    interval = accuracy_difference(Record(2, 56, 70), Record(1, 48, 80), alpha=0.025)
    assert interval.value == pytest.approx(0.2)
    assert interval.low == pytest.approx(0.0524, abs=5e-5)
    assert interval.high == pytest.approx(0.3339, abs=5e-5)


@given(n=st.integers(1, 2000), m=st.integers(1, 2000), a=st.floats(0, 1), b=st.floats(0, 1))
def test_the_interval_holds_its_estimate_and_is_antisymmetric(n: int, m: int, a: float, b: float) -> None:
    one, two = Record(1, round(a * n), n), Record(2, round(b * m), m)
    forth = accuracy_difference(one, two, alpha=0.01)
    back = accuracy_difference(two, one, alpha=0.01)
    assert forth.low <= forth.value <= forth.high
    assert forth.low == pytest.approx(-back.high)


def test_equal_versions_are_rolled_back_no_more_often_than_said() -> None:
    random = np.random.default_rng(0)
    alpha, looks = 0.02, 2000
    params = PARAMS.model_copy(update={"drift_alpha": alpha})
    right = random.binomial(400, 0.9, (looks, 2))
    bad = sum(
        judge("production", Record(2, int(new), 400), Record(1, int(old), 400), params).verdict == "roll back"
        for new, old in right
    )
    assert bad / looks < 1.5 * alpha


def damaged_registry(folder: Path) -> UnopenedRegistry:
    path = folder / "mlflow.db"
    path.write_bytes(b"this is not SQLite" * 100)
    return UnopenedRegistry(settings_of(folder))


def fill(ledger: Ledger, version: int, accuracy: float, count: int = 300) -> None:
    right = np.arange(count) < accuracy * count
    probabilities = np.full(3, 1 / 3, np.float32)
    ids = [f"{version}-{k}" for k in range(count)]
    ledger.add_predictions(
        [Prediction(key, float(k), "production", version, 0, probabilities) for k, key in enumerate(ids)]
    )
    for key, good in zip(ids, right, strict=True):
        ledger.add_feedback(key, 0 if good else 1)


@pytest.mark.parametrize(("accuracy", "verdict", "runs"), [(0.5, "roll back", 1), (0.95, "keep", 2)])
def test_watching_rolls_back_what_is_surely_worse(
    tmp_path: Path, accuracy: float, verdict: str, runs: int
) -> None:
    path = tmp_path / "ledger.db"
    for version in (1, 2):
        set_version(path, version, colour_bundle(tmp_path / "bundles", rotation=version))
    with Ledger(path) as ledger:
        fill(ledger, 1, 0.9)
        fill(ledger, 2, accuracy)
        damaged = damaged_registry(tmp_path)
        report = watch("production", ledger=ledger, registry=damaged, params=PARAMS, actor="ada")
        assert report.verdict == verdict
        assert ledger.environment("production").version == runs
        newest = ledger.decisions(environment="production")[-1]
    assert (newest.kind == "rollback") == (verdict == "roll back")
    if verdict == "roll back":
        assert report.warning is not None
        assert newest.evidence["current"] == {"version": 2, "right": 150, "labels": 300}


def test_without_a_previous_version_nothing_is_decided(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        damaged = damaged_registry(tmp_path)
        report = watch("production", ledger=ledger, registry=damaged, params=PARAMS, actor="ada")
    assert report.verdict == "undecided"
    assert report.document()["difference"] is None
