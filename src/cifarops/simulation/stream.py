"""Where simulated production traffic gets its images from: always with the truth, never from the test set."""

import math
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cifarops.data.snapshot import Arrays, Snapshot, write_snapshot
from cifarops.data.sources.synthetic import render
from cifarops.errors import DataError
from cifarops.simulation.shifts import apply_shift


class Stream(Protocol):
    """An endless supply of labelled images."""

    def draw(self, count: int, *, shift: str | None = None, severity: float = 0.0) -> Arrays:
        """Return the next images uint8 (N, S, S, 3) and labels int64 (N,), shifted as asked."""


class SyntheticStream:
    """Fresh images from the synthetic renderer.

    Args:
        classes: Number of classes.
        size: Height and width in pixels.
        ambiguous: Share of ambiguous images, as in training.
        seed: Seed of the stream; must differ from the snapshot's.
    """

    def __init__(self, *, classes: int, size: int, ambiguous: float, seed: int) -> None:
        self._classes = classes
        self._size = size
        self._ambiguous = ambiguous
        self._random = np.random.default_rng(seed)

    def draw(self, count: int, *, shift: str | None = None, severity: float = 0.0) -> Arrays:
        """Draw new images."""
        labels = self._random.integers(0, self._classes, count)
        images = render(
            labels,
            seed=int(self._random.integers(2**31)),
            size=self._size,
            ambiguous=self._ambiguous,
            shift=shift,
            severity=severity,
        )
        return images, labels


class HeldOutStream:
    """Real images that no snapshot holds, in random order, again from the start when they run out.

    Args:
        images: uint8 (N, S, S, 3).
        labels: int64 (N,).
        seed: Seed of the order and of the shifts.
    """

    def __init__(self, images: NDArray[np.uint8], labels: NDArray[np.int64], *, seed: int) -> None:
        self._images = images
        self._labels = labels
        self._random = np.random.default_rng(seed)
        self._queue = self._random.permutation(len(labels))

    def draw(self, count: int, *, shift: str | None = None, severity: float = 0.0) -> Arrays:
        """Take the next images."""
        while len(self._queue) < count:
            self._queue = np.concatenate([self._queue, self._random.permutation(len(self._labels))])
        chosen, self._queue = self._queue[:count], self._queue[count:]
        images = self._images[chosen]
        if shift is not None:
            images = apply_shift(images, shift, severity=severity, seed=int(self._random.integers(2**31)))
        return images, self._labels[chosen]


def hold_out(root: Path, snapshot: Snapshot, *, fraction: float, seed: int) -> tuple[Snapshot, HeldOutStream]:
    """Move a share of the training images out of a snapshot, to play production traffic.

    Returns:
        The smaller snapshot, with the first as parent, and a stream of the images taken out.

    Raises:
        DataError: There are too few images to take any out.
    """
    images, labels = snapshot.images("train"), snapshot.labels("train")
    order = np.random.default_rng(seed).permutation(len(labels))
    taken = int(len(labels) * fraction)
    if not taken:
        raise DataError(
            f"Snapshot {snapshot.id} has {len(labels)} training images; {fraction:.0%} of them is not one.",
            fix=f"Give at least {math.ceil(1 / fraction)} training images.",
        )
    out, kept = np.sort(order[:taken]), np.sort(order[taken:])
    splits = {split: (snapshot.images(split), snapshot.labels(split)) for split in snapshot.meta.splits}
    meta = snapshot.meta
    smaller = write_snapshot(
        root,
        {**splits, "train": (images[kept], labels[kept])},
        classes=meta.classes,
        preprocessing=meta.preprocessing,
        source=meta.source,
        seed=meta.seed,
        findings=meta.findings,
        parent=snapshot.id,
    )
    return smaller, HeldOutStream(images[out], labels[out], seed=seed)
