"""How long work tells where it is, without knowing who listens."""

from typing import Protocol


class Progress(Protocol):
    """Called now and then during work that may last longer than a second."""

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        """Say that `done` of `total` steps of `what` are done; `note` is shown beside the bar."""


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """Progress that nobody sees."""
