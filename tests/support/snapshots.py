"""Small real snapshots for the colour bundles: the label is the strongest colour, but for a known share."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarops.data.preprocess import Preprocessing
from cifarops.data.snapshot import Arrays, Snapshot, SourceInfo, Split, write_snapshot
from tests.support.bundles import COLOURS, SIZE

_SOURCE = SourceInfo(kind="synthetic", name="colours", sha256="0" * 64)


def colour_arrays(count: int, *, wrong: float = 0.0, size: int = SIZE, seed: int = 0) -> Arrays:
    """Draw images in which the label's channel is the strongest; a share `wrong` of the labels lies."""
    rng = np.random.default_rng(seed)
    strongest = np.arange(count) % len(COLOURS)
    images = rng.integers(0, 100, (count, size, size, 3), dtype=np.uint8)
    images[np.arange(count), :, :, strongest] += 120
    lies = np.arange(count) < round(count * wrong)
    labels: NDArray[np.int64] = np.where(lies, (strongest + 1) % len(COLOURS), strongest)
    return images, labels


def colour_snapshot(
    root: Path,
    *,
    test: int = 600,
    recent: int = 0,
    wrong: float = 0.1,
    size: int = SIZE,
    classes: tuple[str, ...] = COLOURS,
) -> Snapshot:
    """Write a snapshot with the splits train, valid, test and, where asked for, recent."""
    counts: dict[Split, int] = {"train": 30, "valid": 300, "test": test, "recent": recent}
    splits: dict[Split, Arrays] = {
        split: colour_arrays(count, wrong=wrong, size=size, seed=seed)
        for seed, (split, count) in enumerate(counts.items())
        if count
    }
    preprocessing = Preprocessing(size=size, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return write_snapshot(root, splits, classes=classes, preprocessing=preprocessing, source=_SOURCE, seed=0)
