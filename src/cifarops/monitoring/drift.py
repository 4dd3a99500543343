"""Has the world changed? The model's own outputs tell, before any label comes."""

import numpy as np
from pydantic import BaseModel, ConfigDict

from cifarops.bundle.reference import load_reference
from cifarops.bundle.store import Bundle
from cifarops.config import MonitorParams
from cifarops.errors import DataError
from cifarops.ledger.records import Window
from cifarops.monitoring.ks import ks_distance, ks_p_value

MIN_PREDICTIONS = 50


class DriftCheck(BaseModel):
    """What the outputs say about the inputs.

    Attributes:
        drift: Whether there is an alarm.
        predictions: How many were looked at.
        p_value: Chance of outputs at least so shifted without drift, corrected for the number of classes; None where
            there were too few predictions.
        statistic: Largest distance between the distribution functions, in [0, 1].
        shifted_class: The class whose probabilities moved most.
        message: The same in a sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    drift: bool
    predictions: int
    p_value: float | None = None
    statistic: float | None = None
    shifted_class: str | None = None
    message: str


def check_drift(window: Window, bundle: Bundle, params: MonitorParams) -> DriftCheck:
    """Compare each class's probabilities in a window with those on `valid`: black-box shift detection.

    Univariate BBSDs of Rabanser et al. (2019), "Failing Loudly": a two-sample Kolmogorov–Smirnov test for each class on
    the calibrated softmax outputs, with Bonferroni's correction, so that undrifted traffic raises an alarm with a chance
    of at most `params.drift_alpha` a check.

    Args:
        window: Predictions that the bundle answered.
        bundle: Holds the reference outputs.
        params: The level of the test.

    Raises:
        DataError: The window's predictions have another number of classes.
    """
    n = len(window)
    if n < MIN_PREDICTIONS:
        return DriftCheck(
            drift=False,
            predictions=n,
            message=f"Too few predictions to check for drift: {n} of at least {MIN_PREDICTIONS}.",
        )
    reference = load_reference(bundle).probabilities(bundle.manifest.temperature)
    classes = bundle.manifest.classes
    if window.probabilities.shape[1] != len(classes):
        raise DataError(
            f"The predictions have {window.probabilities.shape[1]} classes, the bundle {len(classes)}.",
            fix="Check predictions against the version that answered them.",
        )
    distances = [ks_distance(window.probabilities[:, k], reference[:, k]) for k in range(len(classes))]
    furthest = int(np.argmax(distances))
    # All classes have the same sizes, so the largest distance has the smallest p value.
    p_value = min(1.0, len(classes) * ks_p_value(distances[furthest], n, len(reference)))
    drift = p_value < params.drift_alpha
    shifted = classes[furthest]
    found = f"outputs for {shifted!r} moved most, p = {p_value:.2g} over {n:,} predictions"
    return DriftCheck(
        drift=drift,
        predictions=n,
        p_value=p_value,
        statistic=distances[furthest] / (n * len(reference)),
        shifted_class=shifted,
        message=f"Drift: {found}." if drift else f"No drift: {found}.",
    )
