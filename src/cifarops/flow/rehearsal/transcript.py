"""What is told of a rehearsal: chapters, and in each who did what and what came of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from cifarops.story import Step

# `refused` is a refusal that was expected; `kept`, a job whose answer on the same files is known already.
Outcome = Literal["done", "refused", "failed", "kept", "left out"]


@dataclass(frozen=True)
class Line:
    """One thing that somebody did.

    Attributes:
        who: A person, the pipeline, the server, the customers.
        what: A command, a button, a job.
        outcome: What came of it.
        output: What it printed, or why it was not run.
        seconds: How long it took; 0 where that tells nothing.
    """

    who: str
    what: str
    outcome: Outcome = "done"
    output: str = ""
    seconds: float = 0.0

    @property
    def reason(self) -> str:
        """Why it was refused, in one line; "" where it was not."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        told = [line for line in lines if "error: " in line or line.startswith(("remote: ", "CONFLICT"))]
        return next(iter(told or lines), "") if self.outcome == "refused" else ""


Hear = Callable[[Line], None]


@dataclass
class Chapter:
    """One step, as it is told.

    Attributes:
        step: The step, with what it showed.
        expects: What must happen.
        lines: What was done.
        picture: The branches at its end, as an <svg> element, or "".
        problem: Why it failed, or "".
    """

    step: Step
    expects: str
    lines: list[Line] = field(default_factory=list)
    picture: str = ""
    problem: str = ""


class Audience(Protocol):
    """Sees the rehearsal while it is played."""

    def begins(self, chapter: Chapter, number: int, total: int) -> None:
        """See a step begin."""

    def hears(self, line: Line) -> None:
        """Hear what somebody did."""

    def waits(self, what: str) -> AbstractContextManager[object]:
        """Wait for something that takes a while."""

    def ends(self, chapter: Chapter) -> None:
        """See a step end."""


@dataclass
class Summary:
    """The whole rehearsal, as `summary.json` holds it.

    Attributes:
        commit: The commit of the project whose files were taken.
        restricted: What the rehearsal does not do as a server would, and why.
        complete: Whether the last step was reached.
        seconds: How long it took so far.
        steps: What was done.
        requests_sent: Requests of customers while production was replaced.
        requests_failed: Those of them that were not answered.
    """

    commit: str
    restricted: dict[str, str]
    complete: bool = False
    seconds: float = 0.0
    steps: list[Step] = field(default_factory=list)
    requests_sent: int = 0
    requests_failed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the document."""
        return {
            "commit": self.commit,
            "synthetic": True,
            "restricted": self.restricted,
            "complete": self.complete,
            "seconds": round(self.seconds, 2),
            "requests": {"sent": self.requests_sent, "failed": self.requests_failed},
            "steps": [step.as_json() for step in self.steps],
        }
