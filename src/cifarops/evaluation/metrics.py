"""How good a classifier's answers are: accuracy, calibration and likelihood, each with an interval."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cifarops.errors import DataError

BINS = 15
_SMALLEST = float(np.finfo(np.float32).tiny)


class Interval(BaseModel):
    """An estimate with the bounds it lies between."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: float
    low: float
    high: float


class Bin(BaseModel):
    """Images whose confidence is alike: how sure the model was of them on average, and how often it was right."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int
    confidence: float
    accuracy: float


class ClassAccuracy(BaseModel):
    """Accuracy on the images of one class; None where there are none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    images: int
    accuracy: Interval | None


def check_scores(scores: NDArray[np.floating], labels: NDArray[np.integer], what: str) -> None:
    """Refuse what can't be measured.

    Args:
        scores: Logits or probabilities, (N, C).
        labels: True class indices, (N,).
        what: Named in the message.

    Raises:
        DataError: No images, different lengths, a label outside [0, C), NaN or infinity.
    """
    fix = "Evaluate the packaged model on a split of a snapshot with the same classes."
    if scores.ndim != 2 or labels.ndim != 1:
        raise DataError(
            f"{what}: scores have shape {scores.shape} and labels {labels.shape}; (N, C) and (N,) are needed.",
            fix=fix,
        )
    if len(scores) != len(labels):
        raise DataError(f"{what}: {len(scores)} rows of scores for {len(labels)} labels.", fix=fix)
    if not len(labels):
        raise DataError(f"{what}: there are 0 images, so there is nothing to measure.", fix=fix)
    if labels.min() < 0:
        raise DataError(
            f"{what}: {int((labels < 0).sum())} of {len(labels)} images have no label.",
            fix="Judge on labelled images only: leave the others out, or label them first.",
        )
    if labels.max() >= scores.shape[1]:
        raise DataError(
            f"{what}: labels run from {labels.min()} to {labels.max()}, but the model knows {scores.shape[1]} classes.",
            fix=fix,
        )
    if not np.isfinite(scores).all():
        bad = int((~np.isfinite(scores)).any(axis=1).sum())
        raise DataError(
            f"{what}: {bad} of {len(scores)} answers hold NaN or infinity.",
            fix="The model is broken: train it again, with a smaller learning rate if the loss diverged.",
        )


def accuracy(scores: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the share of rows of `scores` (N, C) whose largest entry is at the label (N,), in [0, 1].

    Raises:
        DataError: See `check_scores`.
    """
    check_scores(scores, labels, "accuracy")
    return float((scores.argmax(axis=1) == labels).mean())


def normal_quantile(probability: float) -> float:
    """Return the standard normal quantile."""
    return NormalDist().inv_cdf(probability)


def normal_tail(z: float) -> float:
    """Return the standard normal probability of a value above `z`."""
    return math.erfc(z / math.sqrt(2)) / 2


def wilson(successes: int, n: int, alpha: float = 0.05) -> Interval:
    """Return a share with its two-sided Wilson score interval of level 1 − `alpha` (Wilson 1927).

    Args:
        successes: Between 0 and `n`.
        n: At least 1.
        alpha: Chance that the interval misses the true share, in (0, 1).
    """
    z = normal_quantile(1 - alpha / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(value=share, low=low, high=high)


def confusion(predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Count predictions: int64 (C, C), rows are true classes, columns predicted ones."""
    flat = np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes * classes)
    return flat.reshape(classes, classes)


def per_class_accuracy(
    predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: Sequence[str], alpha: float = 0.05
) -> tuple[ClassAccuracy, ...]:
    """Return the accuracy on each class's images, with Wilson intervals, in the order of `classes`."""
    counts = confusion(predicted, labels, len(classes))
    return tuple(
        ClassAccuracy(
            name=name,
            images=int(row.sum()),
            accuracy=wilson(int(row[label]), int(row.sum()), alpha) if row.sum() else None,
        )
        for label, (name, row) in enumerate(zip(classes, counts, strict=True))
    )


def expected_calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int = BINS
) -> float:
    """Return the expected calibration error of the top class over bins of equal width (Guo et al. 2017).

    This plug-in estimate errs upwards: a perfectly calibrated model scores about sqrt(bins / N) / 4, not 0.

    Args:
        probabilities: (N, C).
        labels: (N,).
        bins: Bins over (0, 1].

    Returns:
        A share in [0, 1].

    Raises:
        DataError: See `check_scores`.
    """
    gaps, places = _confidence_gaps(probabilities, labels, bins)
    return _binned_error(gaps, places, bins)


def reliability(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int = BINS
) -> tuple[Bin, ...]:
    """Return confidence and accuracy in the bins of `expected_calibration_error`; empty bins are left out.

    Raises:
        DataError: See `check_scores`.
    """
    gaps, places = _confidence_gaps(probabilities, labels, bins)
    confidence = probabilities.max(axis=1).astype(np.float64)
    counts, sure, gap = (np.bincount(places, weights, bins) for weights in (None, confidence, gaps))
    return tuple(
        Bin(images=int(n), confidence=float(c / n), accuracy=float(min(max((c - g) / n, 0), 1)))
        for n, c, g in zip(counts, sure, gap, strict=True)
        if n
    )


def calibration_interval(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    bins: int = BINS,
    alpha: float = 0.05,
    resamples: int = 500,
) -> Interval:
    """Return the calibration error with a basic bootstrap interval (Davison & Hinkley 1997, 5.2).

    The basic interval mirrors the resampled errors at the estimate, which takes off the upward bias that resampling
    adds; a percentile interval would add it twice. The seed is fixed: the same answers give the same interval.

    Raises:
        DataError: See `check_scores`.
    """
    gaps, places = _confidence_gaps(probabilities, labels, bins)
    value = _binned_error(gaps, places, bins)
    rng = np.random.default_rng(0)
    draws = (rng.integers(0, len(gaps), len(gaps)) for _ in range(resamples))
    resampled = np.array([_binned_error(gaps[draw], places[draw], bins) for draw in draws])
    lower, upper = np.quantile(resampled, [alpha / 2, 1 - alpha / 2])
    return Interval(
        value=value,
        low=float(np.clip(2 * value - upper, 0, value)),
        high=float(np.clip(2 * value - lower, value, 1)),
    )


def negative_log_likelihood(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the mean of −log of the probability given to the true class, in nats.

    Raises:
        DataError: See `check_scores`.
    """
    return float(_surprise(probabilities, labels).mean())


def likelihood_interval(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], alpha: float = 0.05
) -> Interval:
    """Return the negative log likelihood with its normal interval of level 1 − `alpha`.

    Raises:
        DataError: See `check_scores`.
    """
    surprise = _surprise(probabilities, labels)
    value = float(surprise.mean())
    half = normal_quantile(1 - alpha / 2) * float(surprise.std()) / math.sqrt(len(surprise))
    return Interval(value=value, low=max(value - half, 0.0), high=value + half)


def _surprise(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    check_scores(probabilities, labels, "likelihood")
    given = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    # A float32 softmax underflows to 0 for a class that is merely very unlikely.
    surprise: NDArray[np.float64] = -np.log(np.maximum(given, _SMALLEST))
    return surprise


def _confidence_gaps(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return, for each image, confidence minus correctness, and the bin of its confidence."""
    check_scores(probabilities, labels, "calibration error")
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    places = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return confidence - correct, places


def _binned_error(gaps: NDArray[np.float64], places: NDArray[np.int64], bins: int) -> float:
    return float(np.abs(np.bincount(places, weights=gaps, minlength=bins)).sum() / len(gaps))
