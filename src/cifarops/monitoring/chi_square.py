"""Pearson's χ² test that two samples of classes come from one distribution."""

import math

import numpy as np
from numpy.typing import NDArray


def chi_square_distance(first: NDArray[np.integer], second: NDArray[np.integer]) -> tuple[float, int]:
    """Return the statistic of two rows of counts, (C,) each, and its degrees of freedom (Pearson 1900).

    Classes that neither sample has say nothing and are left out.
    """
    counts = np.stack([first, second]).astype(np.float64)
    counts = counts[:, counts.sum(axis=0) > 0]
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    return float(((counts - expected) ** 2 / expected).sum()), counts.shape[1] - 1


def chi_square_p_value(statistic: float, freedom: int) -> float:
    """Return the chance of a larger statistic, by the finite sums for whole degrees of freedom (Abramowitz & Stegun 26.4)."""
    if freedom < 1 or statistic <= 0:
        return 1.0
    half = statistic / 2
    odd = freedom % 2
    # The term of order s is half^s exp(-half) / Γ(s + 1), with s = 0, 1, … or 1/2, 3/2, …
    orders = np.arange(freedom // 2) + odd / 2
    terms = [math.exp(order * math.log(half) - half - math.lgamma(order + 1)) for order in orders.tolist()]
    return min(1.0, math.fsum(terms) + (math.erfc(math.sqrt(half)) if odd else 0.0))
