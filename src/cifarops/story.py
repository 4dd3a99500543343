"""A story that is told by doing it: its steps, timed, and `summary.json`, written after each, so that nothing is lost."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cifarops.files import write_atomic


@dataclass
class Step:
    """One step of a story.

    Attributes:
        name: By which it is found in the summary.
        title: For people.
        seconds: How long it took.
        says: What it showed, in one sentence.
        result: Numbers and names, JSON-able.
    """

    name: str
    title: str
    seconds: float = 0.0
    says: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return what the summary keeps of it."""
        return {
            "name": self.name,
            "seconds": round(self.seconds, 2),
            "says": self.says,
            "result": self.result,
        }


class Told(Protocol):
    """What is kept of a whole story."""

    seconds: float
    steps: list[Step]

    def as_json(self) -> dict[str, Any]:
        """Return the document."""


class Recorder:
    """Times the steps and keeps `summary.json` up to date.

    Args:
        summary: What is filled.
        path: Where it is written.
    """

    def __init__(self, summary: Told, path: Path) -> None:
        self.summary = summary
        self._path = path
        self._start = time.perf_counter()

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[Step]:
        """Time a step; it is recorded when the block ends without an error."""
        step = Step(name, title)
        start = time.perf_counter()
        yield step
        step.seconds = time.perf_counter() - start
        self.summary.steps.append(step)
        self.write()

    def write(self) -> None:
        """Write the summary as it stands."""
        self.summary.seconds = time.perf_counter() - self._start
        write_atomic(self._path, json.dumps(self.summary.as_json(), indent=2).encode() + b"\n")
