"""Which image belongs to which split: stratified by class, from a recorded seed."""

import numpy as np
from numpy.typing import NDArray


def stratified(labels: NDArray[np.int64], fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose a share of every class at random.

    Args:
        labels: int64 (N,).
        fraction: Share of each class, in (0, 1), rounded; at least one image where a class has two or more.
        rng: Where chance comes from.

    Returns:
        bool (N,), true where chosen. At least one image of each class is not chosen.
    """
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(round(fraction * len(members)), 1), len(members) - 1)
        chosen[members[:count]] = True
    return chosen


def assign_splits(
    labels: NDArray[np.int64],
    given: NDArray[np.str_],
    *,
    valid_fraction: float,
    test_fraction: float,
    seed: int,
) -> NDArray[np.str_]:
    """Complete the splits that a source gives.

    Where there are no test images, they are cut from those whose split is not given, or else from `train`; where there
    are no valid images, they are cut from what is then left for training.

    Args:
        labels: int64 (N,).
        given: N strings: `train`, `valid`, `test`, or empty.
        valid_fraction: Share of the training images that becomes `valid`.
        test_fraction: Share that becomes `test`.
        seed: Seed of the choice.
    """
    rng = np.random.default_rng(seed)
    splits = np.where(given == "", "train", given).astype("<U5")
    for split, fraction in (("test", test_fraction), ("valid", valid_fraction)):
        if not (splits == split).any():
            source = np.flatnonzero(splits == "train")
            splits[source[stratified(labels[source], fraction, rng)]] = split
    return splits
