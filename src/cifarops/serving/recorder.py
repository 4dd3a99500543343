"""Writing predictions and feedback to the ledger beside the requests, never in their way."""

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cifarops.errors import UnavailableError
from cifarops.ledger.records import Attempt, Prediction, Shadowed
from cifarops.ledger.store import Ledger
from cifarops.serving.metrics import Metrics
from cifarops.serving.traits import with_statistics

Recorded = Literal["recorded", "known"]
Record = Prediction | Attempt | Shadowed
_CAPACITY = 20_000
_MAX_IMAGE_BYTES = 64 * 2**20
_BATCH = 512
# The longest a prediction waits in memory, and so what a killed process can lose.
_FLUSH_SECONDS = 0.05


@dataclass(frozen=True)
class _Feedback:
    prediction_id: str
    label: str
    by: str
    done: "Future[Recorded]" = field(default_factory=Future)


class Recorder:
    """One thread that writes what it is given, in order, in batches of one transaction.

    Feedback follows in the same queue as the predictions, so it always finds the one it belongs to. A ledger that
    can't be written costs predictions, which are counted, and never an answer. Leaving the context writes the rest.

    Args:
        ledger: The ledger's file.
        metrics: Where losses are counted.
        capacity: Entries kept in memory while the ledger is slow; fewer where their images would exceed 64 MiB.
    """

    def __init__(self, ledger: Path, *, metrics: Metrics, capacity: int = _CAPACITY) -> None:
        self._path = ledger
        self._metrics = metrics
        self._capacity = capacity
        self._queue: deque[Record | _Feedback] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._given_up = False
        self._ledger: Ledger | None = None
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)

    def __enter__(self) -> "Recorder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._wake.set()
        self._thread.join()

    def add(self, record: Record) -> None:
        """Hand over a record; returns at once, whatever state the ledger is in."""
        waiting = len(self._queue)
        image = record.image if isinstance(record, Prediction) else None
        # All that wait have images of about the same size: that of the model's input.
        if waiting >= self._capacity or (image is not None and waiting * image.nbytes >= _MAX_IMAGE_BYTES):
            self._lost([record])
            return
        self._queue.append(record)

    def feedback(self, prediction_id: str, label: str, by: str) -> "Future[Recorded]":
        """Hand over the name of the true class of a prediction, and who says so.

        Returns:
            A future with the ledger's answer, or its UsageError, DataError, ConflictError or IntegrityError.

        Raises:
            UnavailableError: Too much is waiting to be written.
        """
        if len(self._queue) >= self._capacity:
            raise UnavailableError("The ledger is too slow to take feedback now.", fix="Send it again later.")
        feedback = _Feedback(prediction_id, label, by)
        self._queue.append(feedback)
        self._wake.set()
        return feedback.done

    def _write(self) -> None:
        while not self._closing:
            self._wake.wait(_FLUSH_SECONDS)
            self._wake.clear()
            self._drain()
        self._drain()
        self._forget_ledger()

    def _drain(self) -> None:
        batch: list[Record] = []
        while self._queue:
            entry = self._queue.popleft()
            if not isinstance(entry, _Feedback):
                batch.append(entry)
            if batch and (len(batch) == _BATCH or isinstance(entry, _Feedback)):
                self._store(batch)
                batch = []
            if isinstance(entry, _Feedback):
                self._settle(entry)
        if batch:
            self._store(batch)

    def _store(self, batch: list[Record]) -> None:
        try:
            self._open().add_records(with_statistics(batch))
        except Exception:  # the thread must live: whatever went wrong, only these are lost
            self._given_up = self._closing  # a stop waits once for a ledger that is held, not for every batch
            self._lost(batch)
            self._forget_ledger()

    def _lost(self, records: list[Record]) -> None:
        self._metrics.lost_predictions.inc(sum(isinstance(record, Prediction) for record in records))

    def _settle(self, feedback: _Feedback) -> None:
        if not feedback.done.set_running_or_notify_cancel():
            return
        try:
            ledger = self._open()
            label = ledger.class_index(feedback.prediction_id, feedback.label)
            feedback.done.set_result(ledger.add_feedback(feedback.prediction_id, label, actor=feedback.by))
        except Exception as error:  # whoever waits for the answer must get one
            self._given_up = self._closing and isinstance(error, UnavailableError)
            feedback.done.set_exception(error)

    def _open(self) -> Ledger:
        if self._given_up:
            raise UnavailableError(
                "The ledger can't be written, and the server stops.", fix="Send it again later."
            )
        if self._ledger is None:
            self._ledger = Ledger(self._path)
        return self._ledger

    def _forget_ledger(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
