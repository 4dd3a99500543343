"""How accurate the model probably is where no label has come: three estimates from its own outputs.

Each assumes something: CBPE that confidence stays calibrated, ATC that the share of confident answers does, COTT that the
true classes come as often as expected. How far off they are is measured on the robustness suite (`monitoring.suite`). An
estimate may raise a question; it never promotes anything.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

_LEAST = 1e-9
_SMOOTHING = 0.01  # of the transport: the smaller, the nearer to a true assignment and the slower
_ROUNDS = 200
_MOST = 2000


class Estimate(BaseModel):
    """Estimated accuracy, in [0, 1], three times; `cott` is the one that is reported."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cbpe: float
    atc: float
    cott: float


@dataclass(frozen=True)
class Estimator:
    """Thresholds fitted on `valid`, where the labels are known.

    Attributes:
        entropy: Answers of less entropy, in nats, are taken for right (ATC).
        confidence: Answers with more confidence in the class that they are assigned to are taken for right (COTT).
        mix: Share of each true class, float64 (C,).
    """

    entropy: float
    confidence: float
    mix: NDArray[np.float64]

    @classmethod
    def fitted(cls, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> "Estimator":
        """Fit on calibrated probabilities (N, C) and labels (N,)."""
        right = float((probabilities.argmax(axis=1) == labels).mean())
        mix = np.bincount(labels, minlength=probabilities.shape[1]) / len(labels)
        chosen = np.random.default_rng(0).permutation(len(labels))[:_MOST]  # the split may be sorted by class
        assigned = _assigned_confidence(probabilities[chosen], mix)
        return cls(
            float(np.quantile(_entropies(probabilities), right)), float(np.quantile(assigned, 1 - right)), mix
        )

    def __call__(
        self, probabilities: NDArray[np.float32], mix: NDArray[np.float64] | None = None
    ) -> Estimate:
        """Estimate accuracy on predictions.

        Args:
            probabilities: Calibrated, (N, C), N at least 1.
            mix: Share of each true class among them, where it is known to differ.

        Returns:
            CBPE: mean calibrated confidence. ATC with negative entropy: Garg et al. 2022, "Leveraging Unlabeled Data to
            Predict Out-of-Distribution Performance". COTT: Lu et al. 2023, "Characterizing Out-of-Distribution Error via
            Optimal Transport", which also sees a model that answers one class whatever it is shown.
        """
        newest = probabilities[-_MOST:]
        assigned = _assigned_confidence(newest, self.mix if mix is None else mix)
        return Estimate(
            cbpe=float(probabilities.max(axis=1).mean()),
            atc=float((_entropies(probabilities) < self.entropy).mean()),
            cott=float((assigned > self.confidence).mean()),
        )


def _entropies(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    clear = np.clip(probabilities.astype(np.float64), _LEAST, 1)
    entropies: NDArray[np.float64] = -(clear * np.log(clear)).sum(axis=1)
    return entropies


def _assigned_confidence(probabilities: NDArray[np.float32], mix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Assign images to classes so that each class gets its share of them and confidence is as high as can be.

    Solved by alternately scaling rows and columns (Cuturi 2013, "Sinkhorn Distances").

    Returns:
        The expected confidence of each image in what it is assigned to, (N,).
    """
    gains = probabilities.astype(np.float64) / _SMOOTHING
    wanted = np.log(np.clip(mix, _LEAST, 1))
    prices = np.zeros(len(mix))
    for _ in range(_ROUNDS):
        rows = _log_sum_exp(gains + prices, axis=1)
        columns = _log_sum_exp(gains - rows[:, None], axis=0) - np.log(len(gains))
        prices = wanted - columns
    plan = np.exp(gains + prices - _log_sum_exp(gains + prices, axis=1)[:, None])
    confidence: NDArray[np.float64] = (plan * probabilities).sum(axis=1)
    return confidence


def _log_sum_exp(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    largest = values.max(axis=axis, keepdims=True)
    total: NDArray[np.float64] = np.log(np.exp(values - largest).sum(axis=axis)) + largest.squeeze(axis)
    return total
