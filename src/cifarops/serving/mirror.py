"""A second version that answers the same requests, recorded and told to nobody, never in the way of an answer."""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cifarops.ledger.records import EnvironmentName, Shadowed
from cifarops.machine import usable_cores
from cifarops.serving.engine import Engine, Outcome
from cifarops.serving.metrics import Metrics
from cifarops.serving.recorder import Recorder

_CAPACITY = 16
_MAX_BYTES = 1024 * 1024
_STOP_SECONDS = 5.0
_CORES = usable_cores()

Ask = Callable[[Engine], Sequence[Outcome]]


@dataclass(frozen=True)
class _Task:
    prediction_ids: Sequence[str]
    engine: Engine
    ask: Ask


class Mirror:
    """One thread that asks second versions, one request after the other; a context manager around it.

    What comes while it, or the server, has too much to do is dropped and counted, as are large images: at most 16 MiB wait.

    Args:
        environment: Where the requests were answered.
        recorder: Takes the second answers.
        metrics: Where they are counted.
    """

    def __init__(self, environment: EnvironmentName, *, recorder: Recorder, metrics: Metrics) -> None:
        self._environment = environment
        self._recorder = recorder
        self._metrics = metrics
        self._first_answers = 0
        self._tasks: queue.Queue[_Task | None] = queue.Queue(_CAPACITY)
        self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)

    def __enter__(self) -> "Mirror":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._tasks.put(None)
        self._thread.join(_STOP_SECONDS)

    @contextmanager
    def first_answer(self) -> Iterator[None]:
        """Know, while the block runs, of one more request that waits for its first answer; on the event loop only."""
        self._first_answers += 1
        try:
            yield
        finally:
            self._first_answers -= 1

    def offer(self, prediction_ids: Sequence[str], engine: Engine, ask: Ask, *, size: int) -> None:
        """Hand over an answered request; returns at once.

        Args:
            prediction_ids: Ids of the answers, one for each image.
            engine: The second version.
            ask: Puts the request to a version.
            size: Bytes that `ask` keeps in memory.
        """
        try:
            if size > _MAX_BYTES or self._first_answers > _CORES:
                raise queue.Full
            self._tasks.put_nowait(_Task(prediction_ids, engine, ask))
        except queue.Full:
            self._metrics.shadowed.labels("dropped").inc()

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                outcomes = task.ask(task.engine)
            except Exception:  # whatever a second version does, nobody waits for it
                self._metrics.shadowed.labels("failed").inc()
                continue
            self._metrics.shadowed.labels("answered").inc()
            for prediction_id, outcome in zip(task.prediction_ids, outcomes, strict=True):
                self._recorder.add(
                    Shadowed(
                        prediction_id,
                        time.time(),
                        self._environment,
                        task.engine.version,
                        outcome.label,
                        outcome.probabilities,
                    )
                )
