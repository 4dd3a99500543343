"""How often each true class comes, estimated from what the model answers."""

import numpy as np
from numpy.typing import NDArray

from cifarops.evaluation.metrics import Interval, confusion

_RESAMPLES = 200
_ITERATIONS = 100


def estimate_mix(
    predicted: NDArray[np.int64],
    reference_predicted: NDArray[np.int64],
    reference_labels: NDArray[np.int64],
    classes: int,
    *,
    alpha: float = 0.05,
) -> tuple[Interval, ...]:
    """Invert the confusion matrix: black-box shift estimation (Lipton et al. 2018, "Detecting and Correcting for Label Shift").

    Assumes that images of a class look as they did. The inverse is taken within the possible mixes, by the maximum
    of the likelihood; the interval is a bootstrap percentile interval over both samples.

    Args:
        predicted: Predicted classes of the window, (N,).
        reference_predicted: Predicted classes on `valid`, (M,).
        reference_labels: True classes on `valid`, (M,).
        classes: Number of classes.
        alpha: Chance that an interval misses.
    """
    rng = np.random.default_rng(0)
    matrix = confusion(reference_predicted, reference_labels, classes).astype(np.float64)
    counts = np.bincount(predicted, minlength=classes).astype(np.float64)
    estimate = _invert(matrix, counts)
    drawn = np.stack(
        [
            _invert(_resampled(rng, matrix.ravel()).reshape(matrix.shape), _resampled(rng, counts))
            for _ in range(_RESAMPLES)
        ]
    )
    low, high = np.quantile(drawn, [alpha / 2, 1 - alpha / 2], axis=0)
    return tuple(
        Interval(value=float(value), low=float(min(below, value)), high=float(max(above, value)))
        for value, below, above in zip(estimate, low, high, strict=True)
    )


def _resampled(rng: np.random.Generator, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    total = counts.sum()
    return rng.multinomial(int(total), counts / total).astype(np.float64)


def _invert(matrix: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mix under which the predicted counts are likeliest, by expectation maximisation (Saerens et al. 2002)."""
    answers = (matrix + 1e-6) / (matrix + 1e-6).sum(axis=1, keepdims=True)  # P(predicted | true)
    mix = np.full(len(counts), 1 / len(counts))
    for _ in range(_ITERATIONS):
        mix = mix * (answers @ (counts / (mix @ answers))) / counts.sum()
    return mix
