import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cifarops.bundle.runtime import softmax
from cifarops.bundle.store import Bundle
from cifarops.config import MonitorParams
from cifarops.errors import DataError, UsageError
from cifarops.evaluation.metrics import Interval
from cifarops.ledger.records import Decision, EnvironmentName, Prediction, Window
from cifarops.ledger.store import Ledger
from cifarops.monitoring.check import MonitoringReport, check
from cifarops.monitoring.labels import check_labels
from tests.support.bundles import COLOURS, bundle_of

PARAMS = MonitorParams(window=200, drift_alpha=0.01, max_accuracy_drop=0.05, min_labels=100)
REFERENCE = Interval(value=0.95, low=0.94, high=0.96)


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
        seqs=np.arange(1, n + 1),
    )


def add(
    ledger: Ledger, logits: NDArray[np.float32], images: NDArray[np.uint8] | None = None, *, version: int = 1
) -> list[Prediction]:
    start = time.time_ns()
    predictions = [
        Prediction(
            f"{start}-{k}",
            time.time(),
            "production",
            version,
            int(row.argmax()),
            row,
            None if images is None else images[k],
        )
        for k, row in enumerate(softmax(logits / np.float32(1.5)))
    ]
    ledger.add_predictions(predictions)
    return predictions


def answer(
    ledger: Ledger, n: int, *, shift: float = 0.0, right: float | None = None, seed: int = 1, version: int = 1
) -> None:
    """Answer `n` requests; where `right` is given, labels come in and that share of the answers is right."""
    predictions = add(ledger, outputs(np.random.default_rng(seed), n, shift=shift), version=version)
    if right is not None:
        for k, prediction in enumerate(predictions):
            ledger.add_feedback(
                prediction.id, prediction.label if k < right * n else (prediction.label + 1) % 3
            )


def look(ledger: Ledger, bundle: Bundle, environment: EnvironmentName = "production") -> MonitoringReport:
    return check(
        environment,
        ledger=ledger,
        bundles=bundle.path.parent,
        snapshots=bundle.path.parent,
        folder=folder(bundle),
        params=PARAMS,
        actor="ada",
    )


def folder(bundle: Bundle) -> Path:
    return bundle.path.parent.parent / "monitoring"


def chosen(whole: Window, which: NDArray[np.bool_]) -> Window:
    return Window(
        tuple(np.array(whole.ids)[which]),
        whole.at[which],
        whole.versions[which],
        whole.predicted[which],
        whole.probabilities[which],
        whole.truth[which],
        whole.traits[which],
        whole.seqs[which],
    )


def kinds(ledger: Ledger) -> list[str]:
    return [decision.kind for decision in ledger.decisions() if decision.kind != "promote"]


def test_less_sure_answers_are_drift_and_the_sentence_says_how_sure(ledger: Ledger, bundle: Bundle) -> None:
    answer(ledger, 200, shift=2)
    found = look(ledger, bundle).drift
    assert found.drift
    assert found.p_value is not None
    assert found.p_value <= PARAMS.drift_alpha
    assert found.predictions < 200
    assert found.message.startswith(f"Drift, sure after {found.predictions} predictions. ")
    assert {each.detector for each in found.findings} == {
        "BBSD",
        "labels",
        "MMD",
        "classifier",
        "pixels",
        "PSI",
    }


def test_a_vanished_class_is_called_a_new_mix_with_intervals(ledger: Ledger, bundle: Bundle) -> None:
    logits = outputs(np.random.default_rng(4), 2400)
    add(ledger, logits[logits.argmax(axis=1) != 2][:1200])
    found = look(ledger, bundle).drift
    assert found.diagnosis is not None
    assert (found.diagnosis.kind, found.diagnosis.cause) == ("label shift", "blue")
    assert found.diagnosis.mix is not None
    assert found.diagnosis.mix["blue"].high < 0.1
    assert "'blue' is now" in found.message


def test_looking_often_changes_no_alarm(ledger: Ledger, bundle: Bundle) -> None:
    for seed in range(10):
        answer(ledger, 25, seed=seed)
        assert look(ledger, bundle).alarms == ()
    assert look(ledger, bundle).drift.predictions == 250
    answer(ledger, 100, shift=3, seed=99)
    assert look(ledger, bundle).alarms == ("drift_alarm",)


def test_a_window_of_three_is_no_alarm_and_no_crash(ledger: Ledger, bundle: Bundle) -> None:
    answer(ledger, 3, shift=4, seed=6)
    found = look(ledger, bundle).drift
    assert (found.drift, found.predictions, found.findings, found.estimate) == (False, 3, (), None)


def test_a_clock_that_jumps_changes_nothing(ledger: Ledger, bundle: Bundle) -> None:
    rows = softmax(outputs(np.random.default_rng(8), 60) / np.float32(1.5))
    ledger.add_predictions(
        [
            Prediction(str(k), 1e9 * (-1) ** k, "production", 1, int(row.argmax()), row)
            for k, row in enumerate(rows)
        ]
    )
    assert look(ledger, bundle).drift.predictions == 60


def test_predictions_of_another_model_are_refused(ledger: Ledger, bundle: Bundle) -> None:
    row = np.full(4, 0.25, np.float32)
    ledger.add_predictions([Prediction("a", 0.0, "production", 1, 0, row)])
    with pytest.raises(DataError, match="have 4 classes, the bundle 3"):
        look(ledger, bundle)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"digest": "of another bundle", "seq": 999}'])
def test_a_position_that_is_lost_is_found_again_from_the_ledger(
    ledger: Ledger, bundle: Bundle, content: bytes
) -> None:
    answer(ledger, 100)
    first = look(ledger, bundle).drift
    (folder(bundle) / "stream-production-1.json").write_bytes(content)
    assert look(ledger, bundle).drift.p_value == first.p_value


def test_examples_before_and_after_are_kept_where_images_are(ledger: Ledger, bundle: Bundle) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (500, 8, 8, 3)).astype(np.uint8)
    add(ledger, outputs(rng, 400), images[:400])
    add(ledger, outputs(rng, 100, shift=4), images[400:])
    examples = look(ledger, bundle).drift.examples
    assert examples is not None
    assert Image.open(examples).size == (9 * 68, 2 * 68)


def test_labels_of_unsure_predictions_only_are_called_selective() -> None:
    newest = window(outputs(np.random.default_rng(3), 800))
    confidence = newest.probabilities.max(axis=1)
    known = (confidence < np.median(confidence)) | (np.arange(800) % 10 == 0)
    truth = np.where(confidence < np.median(confidence), (newest.predicted + 1) % 3, newest.predicted)
    newest = replace(newest, truth=np.where(known, truth, -1))
    found = check_labels(chosen(newest, known), newest, REFERENCE, COLOURS, PARAMS)
    assert found.selective
    assert found.accuracy is not None
    assert found.reweighted is not None
    assert found.accuracy.value < 0.2 < 0.35 < found.reweighted
    assert "Labels are selective" in found.message
    random = replace(newest, truth=np.where(np.arange(800) % 2 == 0, truth, -1))
    assert not check_labels(chosen(random, random.truth >= 0), random, REFERENCE, COLOURS, PARAMS).selective


@pytest.mark.parametrize(("right", "alarm"), [(150, True), (180, False), (188, False)])
def test_accuracy_alarm_needs_a_sure_drop(right: int, alarm: bool) -> None:
    empty = window(outputs(np.random.default_rng(8), 200))
    truth = np.where(np.arange(200) < right, empty.predicted, (empty.predicted + 1) % 3)
    labelled = replace(empty, truth=truth)
    found = check_labels(labelled, empty, REFERENCE, COLOURS, PARAMS)
    assert found.alarm is alarm
    assert found.coverage == 0.0
    assert found.accuracy is not None
    assert found.accuracy.value == right / 200


def test_too_few_labels_are_said_and_raise_no_alarm() -> None:
    few = window(outputs(np.random.default_rng(9), 99))
    found = check_labels(replace(few, truth=(few.predicted + 1) % 3), few, REFERENCE, COLOURS, PARAMS)
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
        look(ledger, bundle, "staging")
