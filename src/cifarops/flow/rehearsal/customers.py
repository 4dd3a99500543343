"""Customers of production: a process of its own that asks all the time and counts what is not answered.

`python -m cifarops.flow.rehearsal.customers URL`: asks until its standard input closes, then prints what it met, as JSON.
"""

import io
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cifarops.data.sources.synthetic import CLASSES, render
from cifarops.errors import CifaropsError, UnavailableError
from cifarops.serving.client import Client

_PER_SECOND = 20
_MOST = 20_000
_IMAGES = 40
_SEED = 4_000_037  # another seed than any snapshot's
_SHOWN = 3
_END_SECONDS = 30.0
_BEGUN = "asking"


@dataclass
class Met:
    """What the customers met.

    Attributes:
        sent: Requests.
        failed: Those that got no answer, or an error.
        failures: The first reasons.
        versions: Answers by the model's version.
        slowest_ms: Longest time to an answer.
    """

    sent: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=dict)
    slowest_ms: float = 0.0


@contextmanager
def customers(url: str) -> Iterator[Met]:
    """Let customers ask a server while the block runs; the yielded counts are complete when it has ended.

    Raises:
        UnavailableError: The customers' process failed.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "cifarops.flow.rehearsal.customers", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    met = Met()
    try:
        if process.stdout is None or process.stdout.readline().strip() != _BEGUN:
            raise UnavailableError(f"No customer can ask {url}.", fix="See what was printed above.")
        yield met
        told, _ = process.communicate(timeout=_END_SECONDS)
        met.__dict__.update(json.loads(told))
    finally:
        process.kill()
        process.wait()


def ask(client: Client, end: Event) -> Met:
    """Ask, at a steady rate, until told to end."""
    labels = np.arange(_IMAGES) % len(CLASSES)
    images = [_png(image) for image in render(labels, seed=_SEED)]
    met, versions = Met(), Counter[str]()
    while met.sent < _MOST and not end.wait(1 / _PER_SECOND):
        start = time.perf_counter()
        try:
            answer = client.predict(images[met.sent % _IMAGES])
            versions[str(answer.model_version)] += 1
        except CifaropsError as error:
            met.failed += 1
            met.failures = [*met.failures, error.message][:_SHOWN]
        met.sent += 1
        met.slowest_ms = max(met.slowest_ms, (time.perf_counter() - start) * 1000)
    met.versions = dict(versions)
    return met


def main() -> None:
    """Ask the server that the first argument names."""
    end = Event()
    Thread(target=_end_with_stdin, args=(end,), daemon=True).start()
    client = Client(sys.argv[1])
    client.live()
    sys.stdout.write(f"{_BEGUN}\n")
    sys.stdout.flush()
    met = ask(client, end)
    sys.stdout.write(json.dumps(met.__dict__))


def _end_with_stdin(end: Event) -> None:
    sys.stdin.read()
    end.set()


def _png(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
