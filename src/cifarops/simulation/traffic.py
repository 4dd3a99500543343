"""Traffic over HTTP: real requests to a real server, with the truth kept, and labels that come late."""

import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cifarops.data.snapshot import Arrays
from cifarops.errors import CifaropsError
from cifarops.progress import Progress, silent
from cifarops.serving.client import Client


@dataclass(frozen=True)
class Answered:
    """One request that was answered.

    Attributes:
        at: Seconds since the epoch when the answer came.
        truth: The true class name.
        milliseconds: From sending to answer, seen by the client.
    """

    prediction_id: str
    at: float
    version: int
    label: str
    truth: str
    milliseconds: float


@dataclass
class TrafficLog:
    """What a stream of requests met."""

    answered: list[Answered] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """Requests sent."""
        return len(self.answered) + len(self.failures)

    def accuracy(self) -> float:
        """Share of right answers, in [0, 1]; 0 where nothing was answered."""
        right = sum(answer.label == answer.truth for answer in self.answered)
        return right / max(len(self.answered), 1)

    def percentile(self, percent: float) -> float:
        """Client-side latency percentile in milliseconds; 0 where nothing was answered."""
        times = [answer.milliseconds for answer in self.answered]
        return float(np.percentile(times, percent)) if times else 0.0

    def extend(self, other: "TrafficLog") -> None:
        """Append another log."""
        self.answered += other.answered
        self.failures += other.failures


def send(
    client: Client,
    batch: Arrays,
    classes: tuple[str, ...],
    *,
    workers: int = 4,
    progress: Progress = silent,
) -> TrafficLog:
    """Send images as PNG files, one request each.

    Args:
        client: A client of the server.
        batch: Images uint8 (N, S, S, 3) and their true labels int64 (N,).
        classes: Class names in label order.
        workers: Requests under way at once.
        progress: Told after every hundred answers.
    """
    images, labels = batch
    log = TrafficLog()
    with ThreadPoolExecutor(workers) as pool:
        jobs = pool.map(lambda k: _ask(client, images[k], classes[labels[k]]), range(len(labels)))
        for done, outcome in enumerate(jobs, start=1):
            _note(log, outcome)
            if done % 100 == 0 or done == len(labels):
                progress("requests", done, len(labels), f"{len(log.failures)} failed")
    return log


def deliver_labels(
    client: Client, log: TrafficLog, *, coverage: float = 1.0, seed: int = 0, workers: int = 4
) -> int:
    """Send the true labels of a share of the answered requests as feedback; returns how many were sent."""
    random = np.random.default_rng(seed)
    chosen = [answer for answer in log.answered if random.random() < coverage]
    with ThreadPoolExecutor(workers) as pool:
        for _ in pool.map(lambda answer: client.feedback(answer.prediction_id, answer.truth), chosen):
            pass
    return len(chosen)


@contextmanager
def steady_traffic(
    client: Client, batch: Arrays, classes: tuple[str, ...], *, per_second: float = 50
) -> Iterator[TrafficLog]:
    """Send requests one after the other while the block runs, so that whatever it swaps is swapped under load.

    The images are used in turn, again and again. The yielded log is complete when the block has ended.
    """
    images, labels = batch
    log, stop = TrafficLog(), Event()

    def loop() -> None:
        turn = 0
        while not stop.wait(1 / per_second):
            k = turn % len(labels)
            _note(log, _ask(client, images[k], classes[labels[k]]))
            turn += 1

    thread = Thread(target=loop, name="steady-traffic", daemon=True)
    thread.start()
    try:
        yield log
    finally:
        stop.set()
        thread.join()


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode uint8 (S, S, 3) as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _ask(client: Client, image: NDArray[np.uint8], truth: str) -> Answered | str:
    content = encode_png(image)
    start = time.perf_counter()
    try:
        answer = client.predict(content)
    except CifaropsError as error:
        return error.message
    took = (time.perf_counter() - start) * 1000
    return Answered(answer.prediction_id, time.time(), answer.model_version, answer.label, truth, took)


def _note(log: TrafficLog, outcome: Answered | str) -> None:
    if isinstance(outcome, Answered):
        log.answered.append(outcome)
    else:
        log.failures.append(outcome)
