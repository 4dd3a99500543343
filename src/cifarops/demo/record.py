"""What the demo leaves behind as numbers: one entry per step, written after each, so nothing is lost."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cifarops.files import write_atomic


@dataclass
class Step:
    """One step of the story.

    Attributes:
        result: Numbers and names, JSON-able.
        says: What it showed, in one sentence.
    """

    name: str
    title: str
    seconds: float = 0.0
    says: str = ""
    result: dict[str, Any] = field(default_factory=dict)


@dataclass
class Summary:
    """The whole story, as `summary.json` holds it.

    Attributes:
        complete: Whether the last step was reached.
    """

    source: str
    profile: str
    complete: bool = False
    seconds: float = 0.0
    requests_sent: int = 0
    requests_failed: int = 0
    steps: list[Step] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the document."""
        return {
            "source": self.source,
            "profile": self.profile,
            "complete": self.complete,
            "seconds": round(self.seconds, 2),
            "requests": {"sent": self.requests_sent, "failed": self.requests_failed},
            "steps": [
                {"name": s.name, "seconds": round(s.seconds, 2), "says": s.says, "result": s.result}
                for s in self.steps
            ],
        }


class Recorder:
    """Times the steps and keeps `summary.json` up to date.

    Args:
        summary: What is filled.
        path: Where it is written.
    """

    def __init__(self, summary: Summary, path: Path) -> None:
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
