import sqlite3
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cifarops.data.statistics import image_statistics
from cifarops.errors import ConflictError, DataError, IntegrityError, UnavailableError, UsageError
from cifarops.ledger.records import Prediction
from cifarops.ledger.store import Ledger
from cifarops.serving.metrics import Metrics
from cifarops.serving.recorder import Recorder


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("production", "0")


def prediction(key: str) -> Prediction:
    return Prediction(
        key, time.time(), "production", 1, 0, np.array([0.75, 0.25], np.float32), classes=("cat", "dog")
    )


def lost(metrics: Metrics) -> float:
    lines = metrics.exposition().decode().splitlines()
    return next(
        float(line.split()[1]) for line in lines if line.startswith("cifarops_lost_predictions_total")
    )


def test_leaving_writes_everything_in_order(tmp_path: Path, metrics: Metrics) -> None:
    path = tmp_path / "ledger.db"
    ids = [f"p{k}" for k in range(1500)]
    with Recorder(path, metrics=metrics) as recorder:
        for key in ids:
            recorder.add(prediction(key))
    with Ledger(path) as ledger:
        assert list(ledger.window("production", last=2000).ids) == ids
    assert lost(metrics) == 0


def test_feedback_finds_a_prediction_that_is_not_written_yet(tmp_path: Path, metrics: Metrics) -> None:
    with Recorder(tmp_path / "ledger.db", metrics=metrics) as recorder:
        recorder.add(prediction("a"))
        assert recorder.feedback("a", "dog", "ada").result(10) == "recorded"
        assert recorder.feedback("a", "dog", "ada").result(10) == "known"
        with pytest.raises(ConflictError):
            recorder.feedback("a", "cat", "ada").result(10)
        with pytest.raises(UsageError, match="no prediction 'b'"):
            recorder.feedback("b", "cat", "ada").result(10)
        with pytest.raises(DataError, match="'cow' is not a class of version 1"):
            recorder.feedback("a", "cow", "ada").result(10)
        recorder.add(prediction("b"))
        assert recorder.feedback("b", "cat", "ada").result(10) == "recorded"
    with Ledger(tmp_path / "ledger.db") as ledger:
        told = ledger.answered("a").feedback
        assert told is not None
        assert (told.label, told.actor) == (1, "ada")


def test_what_was_said_before_the_end_is_answered(tmp_path: Path, metrics: Metrics) -> None:
    with Recorder(tmp_path / "ledger.db", metrics=metrics) as recorder:
        recorder.add(prediction("a"))
        waiting = recorder.feedback("a", "dog", "ada")
    assert waiting.result(0) == "recorded"


def test_an_unusable_ledger_costs_the_predictions_and_is_counted(tmp_path: Path, metrics: Metrics) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"no ledger at all" * 1000)
    with Recorder(path, metrics=metrics) as recorder:
        for key in range(7):
            recorder.add(prediction(str(key)))
        with pytest.raises(IntegrityError):
            recorder.feedback("0", "dog", "ada").result(10)
        path.unlink()
        recorder.add(prediction("after"))
    with Ledger(path) as ledger:
        assert ledger.window("production", last=10).ids == ("after",)
    assert lost(metrics) == 7


def test_a_full_queue_costs_what_comes_next(tmp_path: Path, metrics: Metrics) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with Recorder(path, metrics=metrics, capacity=10) as recorder:
        recorder.add(prediction("first"))
        recorder.feedback("first", "cat", "ada")
        for key in range(100):
            recorder.add(prediction(str(key)))
        with pytest.raises(UnavailableError, match="too slow"):
            recorder.feedback("first", "cat", "ada")
        lock.execute("ROLLBACK")
    lock.close()
    with Ledger(path) as ledger:
        written = len(ledger.window("production", last=200))
    assert 9 <= written <= 13  # the queue, and what was taken out of it before the lock bit
    assert lost(metrics) == 101 - written


def test_large_images_do_not_pile_up_while_the_ledger_is_slow(tmp_path: Path, metrics: Metrics) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    image = np.zeros((2048, 2048, 3), np.uint8)  # 12 MiB; only this one array is in memory
    with Recorder(path, metrics=metrics) as recorder:
        for key in range(50):
            recorder.add(replace(prediction(str(key)), image=image, keep_image=False))
        assert lost(metrics) >= 50 - 6 - 6  # 64 MiB wait, and as many may be on their way to the ledger
        lock.execute("ROLLBACK")
    lock.close()


def test_a_stop_waits_once_for_a_ledger_that_is_held(
    tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifarops.ledger.database._PATIENCE_SECONDS", 0.5)
    add_records, tries = Ledger.add_records, list[int]()

    def counted(ledger: Ledger, records: Sequence[Prediction]) -> None:
        tries.append(len(records))
        add_records(ledger, records)

    monkeypatch.setattr(Ledger, "add_records", counted)
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with Recorder(path, metrics=metrics) as recorder:
        for key in range(5000):
            recorder.add(prediction(str(key)))
        labelled = recorder.feedback("0", "cat", "ada")
    with pytest.raises(UnavailableError):
        labelled.result(0)
    lock.close()
    assert len(tries) <= 2  # of ten: perhaps one before the stop, and one for it
    assert lost(metrics) == 5000


def test_nothing_that_goes_wrong_ends_the_writing(tmp_path: Path, metrics: Metrics) -> None:
    path = tmp_path / "ledger.db"
    crooked = replace(prediction("crooked"), probabilities=np.array(["no number"]))
    with Recorder(path, metrics=metrics) as recorder:
        recorder.add(crooked)
        with pytest.raises(UsageError):
            recorder.feedback("crooked", "cat", "ada").result(10)
        recorder.add(prediction("after"))
        assert recorder.feedback("after", "cat", "ada").result(10) == "recorded"
    assert lost(metrics) == 1


def test_traits_are_completed_with_the_pixel_statistics(tmp_path: Path, metrics: Metrics) -> None:
    sketch = np.array([1, 2, 3], np.float16)
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    sized = [images[0], images[1], images[2, :6, :6]]
    with Recorder(tmp_path / "ledger.db", metrics=metrics) as recorder:
        for k, image in enumerate(sized):
            recorder.add(replace(prediction(str(k)), image=image, keep_image=False, traits=sketch))
    with Ledger(tmp_path / "ledger.db") as ledger:
        window = ledger.window("production", last=3)
    expected = np.stack([np.concatenate([sketch, image_statistics(image[None])[0]]) for image in sized])
    np.testing.assert_allclose(window.traits.astype(np.float32), expected, rtol=2e-3)
