import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cifarops.bundle.runtime import softmax
from cifarops.bundle.store import Bundle
from cifarops.config import MonitorParams
from cifarops.errors import DataError, UsageError
from cifarops.ledger.records import Decision, Prediction, Window
from cifarops.ledger.store import Ledger
from cifarops.monitoring.check import MonitoringReport, check
from cifarops.monitoring.drift import MIN_PREDICTIONS, check_drift
from cifarops.monitoring.labels import check_labels
from tests.support.bundles import bundle_of

PARAMS = MonitorParams(window=200, drift_alpha=0.001, max_accuracy_drop=0.05, min_labels=100)


def outputs(rng: np.random.Generator, n: int, *, shift: float = 0.0) -> NDArray[np.float32]:
    """Logits of a plausible model; `shift` makes it less sure."""
    labels = rng.integers(0, 3, n)
    logits = rng.normal(0, 1, (n, 3)) + np.eye(3)[labels] * (4 - shift)
    return logits.astype(np.float32)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    logits = outputs(np.random.default_rng(0), 1000)
    return bundle_of(tmp_path / "bundles", logits, logits.argmax(axis=1), temperature=1.5)


@pytest.fixture
def ledger(tmp_path: Path, bundle: Bundle) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        seen = opened.environment("production")
        opened.swap(
            seen,
            replace(seen, version=1, digest=bundle.digest),
            Decision("promote", "production", 1, "ada", "test"),
        )
        yield opened


def window(logits: NDArray[np.float32], *, temperature: float = 1.5) -> Window:
    n = len(logits)
    return Window(
        ids=tuple(map(str, range(n))),
        at=np.arange(n, dtype=float),
        versions=np.ones(n, np.int64),
        predicted=logits.argmax(axis=1),
        probabilities=softmax(logits / np.float32(temperature)),
        truth=np.full(n, -1),
        traits=np.empty((n, 0), np.float16),
    )


def answer(
    ledger: Ledger, n: int, *, shift: float = 0.0, right: float | None = None, seed: int = 1, version: int = 1
) -> None:
    """Answer `n` requests; where `right` is given, labels come in and that share of the answers is right."""
    probabilities = softmax(outputs(np.random.default_rng(seed), n, shift=shift) / np.float32(1.5))
    start = time.time_ns()
    predictions = [
        Prediction(f"{start}-{k}", time.time(), "production", version, int(row.argmax()), row)
        for k, row in enumerate(probabilities)
    ]
    ledger.add_predictions(predictions)
    if right is not None:
        for k, prediction in enumerate(predictions):
            ledger.add_feedback(
                prediction.id, prediction.label if k < right * n else (prediction.label + 1) % 3
            )


def look(ledger: Ledger, bundle: Bundle) -> MonitoringReport:
    return check("production", ledger=ledger, bundles=bundle.path.parent, params=PARAMS, actor="ada")


def kinds(ledger: Ledger) -> list[str]:
    return [decision.kind for decision in ledger.decisions() if decision.kind != "promote"]


def test_undrifted_traffic_raises_alarms_no_more_often_than_alpha(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    params = PARAMS.model_copy(update={"drift_alpha": 0.05})
    times = 200
    alarms = 0
    for _ in range(times):  # the guarantee is over references too, so each time a fresh one
        reference = outputs(rng, 150)
        bundle = bundle_of(tmp_path, reference, reference.argmax(axis=1), temperature=1.5)
        alarms += check_drift(window(outputs(rng, 100)), bundle, params).drift
    assert alarms / times <= 0.05 + 3 * (0.05 * 0.95 / times) ** 0.5


def test_less_sure_outputs_are_drift(bundle: Bundle) -> None:
    found = check_drift(window(outputs(np.random.default_rng(3), 200, shift=2)), bundle, PARAMS)
    assert found.drift
    assert found.p_value is not None
    assert found.p_value < 1e-6
    assert found.message.startswith("Drift: outputs for '")


def test_a_vanished_class_is_named(bundle: Bundle) -> None:
    logits = outputs(np.random.default_rng(4), 600)
    without_blue = logits[logits.argmax(axis=1) != 2][:200]
    found = check_drift(window(without_blue), bundle, PARAMS)
    assert found.drift
    assert found.shifted_class == "blue"


def test_calibration_of_the_bundle_is_applied_to_the_reference(bundle: Bundle) -> None:
    logits = outputs(np.random.default_rng(5), 500)
    assert not check_drift(window(logits), bundle, PARAMS).drift
    assert check_drift(window(logits, temperature=1.0), bundle, PARAMS).drift


def test_too_few_predictions_are_said_and_raise_no_alarm(bundle: Bundle) -> None:
    found = check_drift(
        window(outputs(np.random.default_rng(6), MIN_PREDICTIONS - 1, shift=4)), bundle, PARAMS
    )
    assert not found.drift
    assert found.p_value is None
    assert "Too few predictions" in found.message


def test_predictions_of_another_model_are_refused(bundle: Bundle) -> None:
    strange = replace(
        window(outputs(np.random.default_rng(7), 100)), probabilities=np.full((100, 4), 0.25, np.float32)
    )
    with pytest.raises(DataError, match="have 4 classes, the bundle 3"):
        check_drift(strange, bundle, PARAMS)


@pytest.mark.parametrize(("right", "alarm"), [(150, True), (180, False), (188, False)])
def test_accuracy_alarm_needs_a_sure_drop(right: int, alarm: bool) -> None:
    empty = window(outputs(np.random.default_rng(8), 200))
    truth = np.where(np.arange(200) < right, empty.predicted, (empty.predicted + 1) % 3)
    labelled = replace(empty, truth=truth)
    found = check_labels(labelled, empty, 0.95, PARAMS)
    assert found.alarm is alarm
    assert found.coverage == 0.0
    assert found.accuracy is not None
    assert found.accuracy.value == right / 200


def test_too_few_labels_are_said_and_raise_no_alarm() -> None:
    few = window(outputs(np.random.default_rng(9), 99))
    found = check_labels(replace(few, truth=(few.predicted + 1) % 3), few, 0.95, PARAMS)
    assert not found.alarm
    assert found.message == "Too few labels to judge accuracy: 99 of at least 100."


def test_quiet_traffic_reports_and_records_nothing(ledger: Ledger, bundle: Bundle) -> None:
    answer(ledger, 200, right=1.0)
    report = look(ledger, bundle)
    assert report.alarms == ()
    assert report.labels.coverage == 1.0
    assert report.labels.accuracy is not None
    assert report.labels.accuracy.value == 1.0
    assert kinds(ledger) == []


def test_an_alarm_is_recorded_when_it_begins_and_when_it_ends(ledger: Ledger, bundle: Bundle) -> None:
    answer(ledger, 200, shift=3, right=0.5)
    for _ in range(3):
        assert look(ledger, bundle).alarms == ("drift_alarm", "accuracy_alarm")
    assert kinds(ledger) == ["drift_alarm", "accuracy_alarm"]
    answer(ledger, 200, right=1.0, seed=2)
    assert look(ledger, bundle).alarms == ()
    answer(ledger, 200, shift=3, seed=3)
    assert look(ledger, bundle).alarms == ("drift_alarm",)
    assert kinds(ledger) == [
        "drift_alarm",
        "accuracy_alarm",
        "drift_cleared",
        "accuracy_cleared",
        "drift_alarm",
    ]


def test_only_the_running_versions_answers_count(ledger: Ledger, bundle: Bundle) -> None:
    answer(ledger, 200, shift=3, right=0.1, version=7)
    report = look(ledger, bundle)
    assert report.drift.predictions == report.labels.labels == 0
    assert report.alarms == ()
    assert report.labels.accuracy is None


def test_an_environment_that_runs_nothing_is_refused(ledger: Ledger, bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="staging runs no version"):
        check("staging", ledger=ledger, bundles=bundle.path.parent, params=PARAMS, actor="ada")
