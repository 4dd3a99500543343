"""How often the images of a suite were looked at, and the part of the test split that is kept from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifarops.data.splits import stratified
from cifarops.ledger.records import Decision, DecisionKind
from cifarops.ledger.store import Ledger

LOOK: DecisionKind = "test_look"


@dataclass(frozen=True)
class Parts:
    """The test split in two: places of the images that every judgement sees, and of those that are kept, ascending."""

    seen: NDArray[np.int64]
    kept: NDArray[np.int64]


def divide(labels: NDArray[np.int64], share: float, images: str) -> Parts:
    """Divide a test split; the same images are always divided alike, whatever snapshot they are in.

    Args:
        labels: int64 (N,).
        share: Share of each class that is kept; 0 keeps none.
        images: SHA-256 of the images, in hex, that chance is drawn from.
    """
    everything = np.arange(len(labels))
    if not share:
        return Parts(everything, everything[:0])
    kept = stratified(labels, share, np.random.default_rng(int(images[:16], 16)))
    return Parts(everything[~kept], everything[kept])


class Looks:
    """The looks at suites that a ledger has on record, as they stood when this was made.

    Args:
        ledger: Where looks are recorded.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen = [
            (images, decision.evidence["digest"])
            for decision in ledger.every_decision()
            if decision.kind == LOOK
            for images in decision.evidence["images"]
        ]

    def place(self, images: str, candidate: str) -> int:
        """Return which candidate this one is among those judged on the images, from 1; asked again, it keeps its place."""
        judged = list(dict.fromkeys(digest for seen, digest in self._seen if seen == images))
        return judged.index(candidate) + 1 if candidate in judged else len(judged) + 1

    def record(self, suites: Sequence[str], candidate: str, snapshot: str, actor: str) -> None:
        """Write a look down: at which images, at whose answers; before it is taken, so that a broken-off one counts.

        Args:
            suites: Identity of the images of each suite.
            candidate: Digest of the bundle.
            snapshot: Where the images come from.
            actor: Who asks.
        """
        evidence = {"snapshot": snapshot, "digest": candidate, "images": list(suites)}
        self._ledger.record(
            Decision(LOOK, None, None, actor, f"The gate judges bundle {candidate[:12]}.", evidence)
        )
