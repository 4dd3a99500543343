"""Temperature scaling: one number that makes a classifier's confidence mean what it says."""

import math

import numpy as np
from numpy.typing import NDArray

from cifarops.evaluation.metrics import check_scores

COLDEST, HOTTEST = 0.05, 20.0
_HALVINGS = 50


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the temperature that minimises the negative log likelihood of softmax(logits / T) (Guo et al. 2017).

    The likelihood is convex in 1/T, so its slope has one sign change at most, and halving the range finds it whatever
    the scale of the logits.

    Args:
        logits: float32 (N, C).
        labels: int64 (N,), in [0, C).

    Returns:
        A temperature in [0.05, 20]; an end of the range where the best lies beyond it, 1 where the logits say nothing.

    Raises:
        DataError: No images, NaN or infinity, or labels that don't fit.
    """
    check_scores(logits, labels, "calibration")
    scores = logits.astype(np.float64)
    above_truth = scores - scores[np.arange(len(labels)), labels, None]
    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        excess = _mean_expected(above_truth, math.exp(middle))
        if excess == 0:
            return math.exp(middle)
        # Expected logit above the true class's: the model claims more than it knows, so it must be hotter.
        low, high = (middle, high) if excess > 0 else (low, middle)
    return min(max(math.exp((low + high) / 2), COLDEST), HOTTEST)


def _mean_expected(scores: NDArray[np.float64], temperature: float) -> float:
    """Return the mean over images of the score expected under softmax(scores / temperature)."""
    weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
    return float(((weights * scores).sum(axis=1) / weights.sum(axis=1)).mean())
