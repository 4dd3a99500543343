"""What is different about the newest predictions: one question each, asked of a window and the reference.

These describe; the alarm is the martingale's alone. The p value of each holds for one look.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cifarops.monitoring.chi_square import chi_square_distance, chi_square_p_value
from cifarops.monitoring.ks import ks_distance, ks_p_value
from cifarops.monitoring.views import Group

_MOST = 500  # images of each side that the two tests on features look at
_PERMUTATIONS = 200
_RIDGE = 1e-3
_PSI_BINS = 10


class Finding(BaseModel):
    """A detector's answer.

    Attributes:
        detector: Its name.
        statistic: What it measured.
        p_value: Chance of at least as much without drift, corrected where several things were looked at; None where the
            detector gives none.
        moved: What moved most, where it can say so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: str
    statistic: float
    p_value: float | None = None
    moved: str | None = None


@dataclass(frozen=True)
class Sample:
    """Predictions as detectors see them.

    Attributes:
        predicted: int64 (N,).
        views: float32 (N, K), without missing values.
        names: Of the views.
        groups: Of the views.
        classes: Class names.
    """

    predicted: NDArray[np.int64]
    views: NDArray[np.float32]
    names: tuple[str, ...]
    groups: tuple[Group, ...]
    classes: tuple[str, ...]

    def of(self, group: Group) -> tuple[NDArray[np.float32], list[str]]:
        """Return the views of a group, (N, G), and their names."""
        chosen = [place for place, each in enumerate(self.groups) if each == group]
        return self.views[:, chosen], [self.names[place] for place in chosen]

    def newest(self, count: int) -> "Sample":
        """Return the last `count` of them."""
        return replace(self, predicted=self.predicted[-count:], views=self.views[-count:])


Detector = Callable[[Sample, Sample], Finding]


def outputs(window: Sample, reference: Sample) -> Finding:
    """Compare each class's probabilities: univariate BBSD (Rabanser et al. 2019, "Failing Loudly")."""
    return _furthest("BBSD", "outputs", window, reference)


def pixels(window: Sample, reference: Sample) -> Finding:
    """Compare each pixel statistic."""
    return _furthest("pixels", "pixels", window, reference)


def labels(window: Sample, reference: Sample) -> Finding:
    """Compare how often each class is predicted: χ² on the predicted classes."""
    count = len(window.classes)
    first, second = (np.bincount(each.predicted, minlength=count) for each in (window, reference))
    statistic, freedom = chi_square_distance(first, second)
    apart = np.abs(first / first.sum() - second / second.sum())
    return Finding(
        detector="labels",
        statistic=statistic,
        p_value=chi_square_p_value(statistic, freedom),
        moved=window.classes[int(apart.argmax())],
    )


def mean_discrepancy(window: Sample, reference: Sample) -> Finding:
    """Compare features by the maximum mean discrepancy with permutations (Gretton et al. 2012, "A Kernel Two-Sample Test").

    The kernel is Gaussian, its width the median distance.
    """
    first, second = _features(window, reference)
    together = np.concatenate([first, second]).astype(np.float64)
    squares = ((together[:, None] - together[None]) ** 2).sum(axis=2)
    kernel = np.exp(-squares / max(float(np.median(squares)), 1e-12))
    weights = np.concatenate([np.full(len(first), 1 / len(first)), np.full(len(second), -1 / len(second))])
    rng = np.random.default_rng(0)
    orders = np.stack([weights, *(rng.permutation(weights) for _ in range(_PERMUTATIONS))])
    discrepancies = np.einsum("on,on->o", orders @ kernel, orders)
    as_large = int((discrepancies >= discrepancies[0] - 1e-15).sum())  # itself among them
    return Finding(detector="MMD", statistic=float(discrepancies[0]), p_value=as_large / (_PERMUTATIONS + 1))


def classifier(window: Sample, reference: Sample) -> Finding:
    """Let a linear classifier tell both apart by their features (Lopez-Paz & Oquab 2017, "Revisiting Classifier Two-Sample Tests").

    It learns on one half and is tested on the other; the statistic is its accuracy, 0.5 without drift.
    """
    first, second = _features(window, reference)
    size = min(len(first), len(second))
    images = np.concatenate([first[:size], second[:size]]).astype(np.float64)
    images = np.column_stack([images, np.ones(len(images))])
    sides = np.repeat([1.0, -1.0], size)
    learned = np.tile(np.arange(size) % 2 == 0, 2)
    gram = images[learned].T @ images[learned] + _RIDGE * learned.sum() * np.eye(images.shape[1])
    weights = np.linalg.solve(gram, images[learned].T @ sides[learned])
    right = int((np.sign(images[~learned] @ weights) == sides[~learned]).sum())
    tested = int((~learned).sum())
    return Finding(detector="classifier", statistic=right / tested, p_value=fair_coin_p_value(right, tested))


def stability(window: Sample, reference: Sample) -> Finding:
    """Give the largest population stability index of all views, over tenths of the reference (Siddiqi 2006).

    By custom 0.1 is little and 0.25 is much; it has no p value, and small windows make it large.
    """
    indices = []
    for place in range(len(window.names)):
        edges = np.unique(np.quantile(reference.views[:, place], np.arange(1, _PSI_BINS) / _PSI_BINS))
        shares = [
            (np.bincount(np.searchsorted(edges, each.views[:, place]), minlength=len(edges) + 1) + 0.5)
            / (len(each.views) + 0.5 * (len(edges) + 1))
            for each in (window, reference)
        ]
        indices.append(float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum()))
    furthest = int(np.argmax(indices))
    return Finding(detector="PSI", statistic=indices[furthest], moved=window.names[furthest])


DETECTORS: tuple[Detector, ...] = (outputs, labels, mean_discrepancy, classifier, pixels, stability)


def fair_coin_p_value(heads: int, tosses: int) -> float:
    """Return the chance of at least so many heads in tosses of a fair coin."""
    log_half = tosses * math.log(0.5) + math.lgamma(tosses + 1)
    terms = (
        math.exp(log_half - math.lgamma(k + 1) - math.lgamma(tosses - k + 1))
        for k in range(heads, tosses + 1)
    )
    return min(1.0, math.fsum(terms))


def _furthest(name: str, group: Group, window: Sample, reference: Sample) -> Finding:
    """Compare each view of a group by Kolmogorov and Smirnov's test, with Bonferroni's correction."""
    first, names = window.of(group)
    second, _ = reference.of(group)
    n, m = len(first), len(second)
    distances = [ks_distance(first[:, k], second[:, k]) for k in range(len(names))]
    # All views have the same sizes, so the largest distance has the smallest p value.
    furthest = int(np.argmax(distances))
    p_value = min(1.0, len(names) * ks_p_value(distances[furthest], n, m))
    return Finding(
        detector=name, statistic=distances[furthest] / (n * m), p_value=p_value, moved=names[furthest]
    )


def _features(window: Sample, reference: Sample) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return features of a random part of both, so that the work does not grow."""
    rng = np.random.default_rng(0)
    first, second = (
        each.of("features")[0][rng.permutation(len(each.views))[:_MOST]] for each in (window, reference)
    )
    return first, second
