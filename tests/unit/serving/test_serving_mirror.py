import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cifarops.ledger.records import Prediction
from cifarops.ledger.store import Ledger
from cifarops.machine import usable_cores
from cifarops.serving.engine import Engine, Outcome
from cifarops.serving.metrics import Metrics
from cifarops.serving.mirror import Mirror
from cifarops.serving.recorder import Recorder
from tests.support.bundles import colour_bundle, colour_image

_SIZE = 1000


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("production", "0")


@pytest.fixture
def recorder(tmp_path: Path, metrics: Metrics) -> Iterator[Recorder]:
    with Recorder(tmp_path / "ledger.db", metrics=metrics) as opened:
        yield opened


@pytest.fixture
def mirror(recorder: Recorder, metrics: Metrics) -> Iterator[Mirror]:
    with Mirror("production", recorder=recorder, metrics=metrics) as opened:
        yield opened


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path / "bundles", colour_bundle(tmp_path / "bundles", rotation=1).digest, 2)


def shadowed(metrics: Metrics, outcome: str) -> float:
    lines = metrics.exposition().decode().splitlines()
    name = f'cifarops_shadowed_total{{outcome="{outcome}"}}'
    return next((float(line.split()[1]) for line in lines if line.startswith(name)), 0.0)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def red(engine: Engine) -> list[Outcome]:
    return [engine.answer(colour_image("red"))]


def broken(engine: Engine) -> list[Outcome]:
    raise RuntimeError(f"version {engine.version} is broken")


def test_second_answers_are_recorded_and_failures_counted(
    mirror: Mirror, recorder: Recorder, engine: Engine, metrics: Metrics, tmp_path: Path
) -> None:
    recorder.add(Prediction("a", time.time(), "production", 1, 0, np.array([1, 0, 0], np.float32)))
    mirror.offer(["a"], engine, broken, size=_SIZE)
    mirror.offer(["a"], engine, red, size=_SIZE)
    eventually(lambda: shadowed(metrics, "answered") == 1)
    assert shadowed(metrics, "failed") == 1
    with Ledger(tmp_path / "ledger.db") as ledger:
        eventually(lambda: len(ledger.pairs("production", answered_by=1, shadowed_by=2, since=0).truth) == 1)
        found = ledger.pairs("production", answered_by=1, shadowed_by=2, since=0)
    assert (found.answered.tolist(), found.shadowed.tolist()) == ([0], [1])


def test_what_it_cannot_keep_up_with_is_dropped_at_once(
    mirror: Mirror, engine: Engine, metrics: Metrics
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(version: Engine) -> list[Outcome]:
        begun.set()
        go_on.wait(10)
        return red(version)

    mirror.offer(["a"], engine, slow, size=_SIZE)
    assert begun.wait(10)
    for _ in range(100):
        mirror.offer(["a"], engine, red, size=_SIZE)
    assert shadowed(metrics, "dropped") == 100 - 16
    go_on.set()
    eventually(lambda: shadowed(metrics, "answered") == 17)


def test_large_images_and_a_busy_server_are_left_alone(
    mirror: Mirror, engine: Engine, metrics: Metrics
) -> None:
    mirror.offer(["a"], engine, red, size=2**20 + 1)
    waiting = [mirror.first_answer() for _ in range(usable_cores() + 1)]
    for each in waiting:
        each.__enter__()
    mirror.offer(["a"], engine, red, size=_SIZE)
    assert shadowed(metrics, "dropped") == 2
    for each in waiting:
        each.__exit__(None, None, None)
    mirror.offer(["a"], engine, red, size=_SIZE)
    eventually(lambda: shadowed(metrics, "answered") == 1)
