"""Bounds that hold however often one looks: betting on the mean of bounded values, one value after the other.

Waudby-Smith & Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86. Whoever stakes a fixed
share of a wealth of 1 on every next value being above m has, where the mean is m or less, a wealth that ever reaches
1/alpha with a chance of at most alpha (Ville's inequality); so "the wealth has reached 1/alpha" is a test that may be
looked at after every value, and the means it does not refute form a confidence sequence. The wealth here is the average
over a fixed set of stakes, small ones for slight effects and large ones for strong effects: nothing has to be tuned, and
the order of the values does not matter to it.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cifarops.errors import DataError
from cifarops.evaluation.metrics import Interval

# Shares of the wealth, from 95 % down to 0.1 %.
_STAKES: NDArray[np.float64] = 0.95 * 2.0 ** (-np.arange(20) / 2)
_HALVINGS = 50


def log_wealth(values: ArrayLike, mean: float, *, low: float) -> float:
    """Return the logarithm of what betting on values above `mean` has made of a wealth of 1.

    Args:
        values: In the order in which they came, each at least `low` (N,).
        mean: What is bet against: that each value's expectation, given those before, is at most this; above `low`.
        low: Smallest possible value.
    """
    found, counts = np.unique(np.asarray(values, np.float64), return_counts=True)
    return _log_wealth(found, counts, mean, low)


def bounds(values: ArrayLike, *, alpha: float, low: float, high: float) -> Interval:
    """Return the mean with bounds of which each is ever wrong, at any look, with a chance of at most `alpha`.

    Args:
        values: In the order in which they came, in [`low`, `high`] (N,). Each one's expectation, given those before, is
            the mean in question.
        alpha: In (0, 1).
        low: Smallest possible value.
        high: Largest possible value.

    Returns:
        The mean so far, `low` to `high` where there are no values yet (the middle stands for the mean then).

    Raises:
        DataError: A value lies outside.
    """
    array = np.asarray(values, np.float64)
    if not array.size:
        return Interval(value=(low + high) / 2, low=low, high=high)
    if not low <= array.min() <= array.max() <= high:  # NaN is refused here too
        raise DataError(
            f"Values from {array.min():g} to {array.max():g} don't lie in {low:g} to {high:g}.",
            fix="Give the range that the values can have.",
        )
    found, counts = np.unique(array, return_counts=True)
    return Interval(
        value=float(array.mean()),
        low=_lower(found, counts, alpha, low),
        high=-_lower(-found, counts, alpha, -high),
    )


def _log_wealth(found: NDArray[np.float64], counts: NDArray[np.int64], mean: float, low: float) -> float:
    gains = (found - low) / (mean - low) - 1
    wealths = np.log1p(_STAKES[:, None] * gains) @ counts
    return float(np.logaddexp.reduce(wealths)) - math.log(len(_STAKES))


def _lower(found: NDArray[np.float64], counts: NDArray[np.int64], alpha: float, low: float) -> float:
    """Return the smallest mean that the values don't refute, by halving: the wealth falls in the mean bet against."""
    refuted, open_ = low, float(found @ counts / counts.sum())
    for _ in range(_HALVINGS):
        middle = (refuted + open_) / 2
        if middle > low and _log_wealth(found, counts, middle, low) >= -math.log(alpha):
            refuted = middle
        else:
            open_ = middle
    return refuted
