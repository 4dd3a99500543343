"""A command of the process as steps, each of which can be found done already.

A command that was killed between two steps is carried on by running it again; a dry run says what would be done.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

Outcome = Literal["done", "already", "would"]


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        what: What it does, as an order: "lock develop".
        is_needed: Asked right before it would be done.
        do: Does it; doing it twice must be harmless, because a crash can fall between it and the next question.
    """

    what: str
    is_needed: Callable[[], bool]
    do: Callable[[], object]


class Listener(Protocol):
    """Told of each step when it has been dealt with."""

    def __call__(self, what: str, outcome: Outcome) -> None:
        """Hear what became of a step."""


@dataclass(frozen=True)
class Taken:
    """What became of a step."""

    what: str
    outcome: Outcome


def nobody(what: str, outcome: Outcome) -> None:
    """Listener that says nothing."""


def take(steps: Iterable[Step], *, dry_run: bool, listener: Listener = nobody) -> tuple[Taken, ...]:
    """Take the steps in order, those that are needed; with `dry_run` only say which those are."""
    taken = []
    for step in steps:
        outcome: Outcome = "already"
        if step.is_needed():
            outcome = "would" if dry_run else "done"
            if not dry_run:
                step.do()
        listener(step.what, outcome)
        taken.append(Taken(step.what, outcome))
    return tuple(taken)
