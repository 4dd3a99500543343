"""Predictions as numbers that can be watched one by one: outputs, features and pixels, each on the reference's scale."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cifarops.bundle.reference import Reference
from cifarops.data.statistics import STATISTICS

Group = Literal["outputs", "features", "pixels"]
_LEAST = 1e-6  # probabilities below this are all alike
_FURTHEST = 8.0  # standard deviations; what lies beyond is as if it lay there
_SHRINKAGE = 0.01


@dataclass(frozen=True)
class _Novelty:
    """Distance to the nearest class among sketched features (Lee et al. 2018, "A Simple Unified Framework")."""

    whiten: NDArray[np.float32]
    centres: NDArray[np.float32]

    @classmethod
    def fitted(cls, sketches: NDArray[np.float32], labels: NDArray[np.int64]) -> "_Novelty":
        classes = np.unique(labels)
        means = np.stack([sketches[labels == label].mean(axis=0) for label in classes])
        within = sketches - means[np.searchsorted(classes, labels)]
        covariance = within.T.astype(np.float64) @ within / len(within)
        ridge = _SHRINKAGE * np.trace(covariance) / len(covariance) + 1e-9
        factor = np.linalg.cholesky(covariance + ridge * np.eye(len(covariance)))
        whiten = np.linalg.inv(factor).T.astype(np.float32)
        return cls(whiten, means @ whiten)

    def __call__(self, sketches: NDArray[np.float32]) -> NDArray[np.float32]:
        placed = sketches @ self.whiten
        squares = (placed**2).sum(axis=1)[:, None] - 2 * placed @ self.centres.T
        nearest = (squares + (self.centres**2).sum(axis=1)).min(axis=1)
        distances: NDArray[np.float32] = np.log1p(np.maximum(nearest, 0))
        return distances


class Views:
    """The numbers that are watched, in the order of `names`.

    Args:
        reference: Gives every view its scale.
        temperature: Of the bundle's calibration.
        classes: Class names.
    """

    def __init__(self, reference: Reference, temperature: float, classes: tuple[str, ...]) -> None:
        outputs = (*(f"output {name}" for name in classes), "confidence", "entropy")
        features = (*reference.trait_names[: -len(STATISTICS)], "novelty")
        self.names = (*outputs, *features, *STATISTICS)
        sizes: dict[Group, int] = {
            "outputs": len(outputs),
            "features": len(features),
            "pixels": len(STATISTICS),
        }
        self.groups = tuple(group for group, size in sizes.items() for _ in range(size))
        self._sketched = reference.traits.shape[1] - len(STATISTICS)
        sketches = reference.traits[:, : self._sketched].astype(np.float32)
        self._novelty = _Novelty.fitted(sketches, reference.labels)
        raw = self._raw(reference.probabilities(temperature), reference.traits)
        self._centre = raw.mean(axis=0)
        self._spread = np.maximum(raw.std(axis=0), 1e-6)

    def __call__(
        self, probabilities: NDArray[np.float32], traits: NDArray[np.float16]
    ) -> NDArray[np.float32]:
        """Return the views of predictions, in standard deviations from the reference's mean.

        Args:
            probabilities: Calibrated, float32 (N, C).
            traits: float16 (N, T), NaN where none were kept; (N, 0) where that is so everywhere.

        Returns:
            float32 (N, K) in [−8, 8], NaN where a view can't be had.
        """
        if traits.shape[1] != self._sketched + len(STATISTICS):  # kept by a program that named them otherwise
            traits = np.full((len(probabilities), self._sketched + len(STATISTICS)), np.nan, np.float16)
        scaled = (self._raw(probabilities, traits) - self._centre) / self._spread
        clipped: NDArray[np.float32] = scaled.clip(-_FURTHEST, _FURTHEST)
        return clipped

    def _raw(self, probabilities: NDArray[np.float32], traits: NDArray[np.float16]) -> NDArray[np.float32]:
        clear = np.clip(probabilities, _LEAST, 1 - _LEAST)
        logarithms = np.log(clear)
        top = clear.max(axis=1)
        sketches = traits[:, : self._sketched].astype(np.float32)
        return np.column_stack(
            [
                logarithms,
                np.log(top) - np.log1p(-top),
                -(clear * logarithms).sum(axis=1),
                sketches,
                self._novelty(sketches),
                traits[:, self._sketched :].astype(np.float32),
            ]
        )
