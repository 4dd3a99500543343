"""Is the model still right? Answered as true labels come in."""

from pydantic import BaseModel, ConfigDict

from cifarops.config import MonitorParams
from cifarops.evaluation.metrics import Interval, wilson
from cifarops.ledger.records import Window


class LabelCheck(BaseModel):
    """What the labels say.

    Attributes:
        alarm: Whether accuracy is surely further below the reference than allowed.
        labels: How many labelled predictions were judged.
        coverage: Share of the newest predictions whose label is known, in [0, 1].
        accuracy: With its interval of level 95 %; None without labels.
        reference: Accuracy on `valid` when the bundle was packaged.
        message: The same in a sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    alarm: bool
    labels: int
    coverage: float
    accuracy: Interval | None
    reference: float
    message: str


def check_labels(labelled: Window, newest: Window, reference: float, params: MonitorParams) -> LabelCheck:
    """Judge accuracy on labelled predictions.

    Args:
        labelled: The newest predictions with a label.
        newest: The newest predictions, labelled or not, for the coverage.
        reference: Accuracy to compare with, in [0, 1].
        params: How far it may drop, and from how many labels on it is judged.
    """
    count = len(labelled)
    accuracy = wilson(int((labelled.predicted == labelled.truth).sum()), count) if count else None
    least = reference - params.max_accuracy_drop
    judged = accuracy is not None and count >= params.min_labels
    alarm = judged and accuracy is not None and accuracy.high < least
    return LabelCheck(
        alarm=alarm,
        labels=count,
        coverage=float((newest.truth >= 0).mean()) if len(newest) else 0.0,
        accuracy=accuracy,
        reference=reference,
        message=_message(accuracy, count, least, alarm=alarm, params=params),
    )


def _message(
    accuracy: Interval | None, count: int, least: float, *, alarm: bool, params: MonitorParams
) -> str:
    if accuracy is None or count < params.min_labels:
        return f"Too few labels to judge accuracy: {count} of at least {params.min_labels}."
    seen = f"accuracy is {accuracy.value:.1%} ({accuracy.low:.1%} to {accuracy.high:.1%}) on {count:,} labels"
    if alarm:
        return f"Accuracy dropped: {seen}, surely below the {least:.1%} that are allowed."
    return f"Accuracy holds: {seen}; the alarm is at {least:.1%}."
