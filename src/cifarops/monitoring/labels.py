"""Is the model still right? Answered as true labels come in."""

import numpy as np
from pydantic import BaseModel, ConfigDict

from cifarops.config import MonitorParams
from cifarops.evaluation.metrics import ClassAccuracy, Interval, per_class_accuracy, wilson
from cifarops.evaluation.sequential import bounds
from cifarops.ledger.records import Window
from cifarops.monitoring.ks import ks_distance, ks_p_value

_SELECTIVE = 0.001
_STRATA = 5


class LabelCheck(BaseModel):
    """What the labels say.

    Attributes:
        alarm: Whether accuracy is surely further below the reference than allowed.
        dropped: Whether it is surely below the reference at all, however often one looks.
        labels: How many labelled predictions were judged.
        coverage: Share of the newest predictions whose label is known, in [0, 1].
        accuracy: With its interval of level 95 %; None without labels.
        per_class: Accuracy on the images of each true class.
        reference: Accuracy on `valid` when the bundle was packaged.
        selective: Whether labels come for predictions of another confidence than the rest: they then misjudge the model.
        reweighted: Accuracy if every confidence were labelled as often as it occurs; None where nothing is selective.
        message: The same in a sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    alarm: bool
    dropped: bool
    labels: int
    coverage: float
    accuracy: Interval | None
    per_class: tuple[ClassAccuracy, ...]
    reference: float
    selective: bool
    reweighted: float | None
    message: str


def check_labels(
    labelled: Window, newest: Window, reference: Interval, classes: tuple[str, ...], params: MonitorParams
) -> LabelCheck:
    """Judge accuracy on labelled predictions.

    Args:
        labelled: The newest predictions with a label.
        newest: The newest predictions, labelled or not, for the coverage and for what is labelled.
        reference: Accuracy to compare with, and the interval that it is known to.
        classes: Class names.
        params: How far it may drop, and from how many labels on it is judged.
    """
    count = len(labelled)
    right = labelled.predicted == labelled.truth
    accuracy = wilson(int(right.sum()), count) if count else None
    least = reference.value - params.max_accuracy_drop
    judged = count >= params.min_labels
    sure = bounds(right.astype(float), alpha=params.drift_alpha, low=0, high=1)
    alarm = bool(judged and accuracy is not None and accuracy.high < least)
    coverage = float((newest.truth >= 0).mean()) if len(newest) else 0.0
    selective = judged and _is_selective(newest)
    reweighted = _reweighted(newest) if selective else None
    return LabelCheck(
        alarm=alarm,
        dropped=judged and sure.high < reference.low,
        labels=count,
        coverage=coverage,
        accuracy=accuracy,
        per_class=per_class_accuracy(labelled.predicted, labelled.truth, classes) if count else (),
        reference=reference.value,
        selective=selective,
        reweighted=reweighted,
        message=_message(accuracy, count, least, alarm=alarm, params=params) + _bias(coverage, reweighted),
    )


def _is_selective(newest: Window) -> bool:
    """Compare the confidence of labelled and unlabelled predictions by Kolmogorov and Smirnov's test."""
    confidence, known = newest.probabilities.max(axis=1), newest.truth >= 0
    n, m = int(known.sum()), int((~known).sum())
    if min(n, m) < _STRATA:
        return False
    return ks_p_value(ks_distance(confidence[known], confidence[~known]), n, m) < _SELECTIVE


def _reweighted(newest: Window) -> float | None:
    """Average accuracy over fifths of the confidence of all predictions (post-stratification); None if one has no label."""
    confidence, known = newest.probabilities.max(axis=1), newest.truth >= 0
    strata = np.searchsorted(np.quantile(confidence, np.arange(1, _STRATA) / _STRATA), confidence)
    right = newest.predicted == newest.truth
    shares = [(strata == k) & known for k in range(_STRATA)]
    if not all(each.any() for each in shares):
        return None
    return float(sum(right[each].mean() * (strata == k).mean() for k, each in enumerate(shares)))


def _message(
    accuracy: Interval | None, count: int, least: float, *, alarm: bool, params: MonitorParams
) -> str:
    if accuracy is None or count < params.min_labels:
        return f"Too few labels to judge accuracy: {count} of at least {params.min_labels}."
    seen = f"accuracy is {accuracy.value:.1%} ({accuracy.low:.1%} to {accuracy.high:.1%}) on {count:,} labels"
    if alarm:
        return f"Accuracy dropped: {seen}, surely below the {least:.1%} that are allowed."
    return f"Accuracy holds: {seen}; the alarm is at {least:.1%}."


def _bias(coverage: float, reweighted: float | None) -> str:
    if reweighted is None:
        return ""
    return (
        f" Labels are selective: {coverage:.0%} of the predictions have one, of another confidence than the rest;"
        f" reweighted, accuracy is {reweighted:.1%}."
    )
