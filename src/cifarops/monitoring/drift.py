"""Has the world changed, and how? The model's own answers tell, before any label comes."""

import numpy as np
from pydantic import BaseModel, ConfigDict

from cifarops.config import MonitorParams
from cifarops.ledger.records import Window
from cifarops.monitoring.detectors import DETECTORS, Finding, Sample, labels, outputs, pixels
from cifarops.monitoring.diagnosis import Diagnosis, diagnose
from cifarops.monitoring.estimate import Estimate, Estimator
from cifarops.monitoring.stream import StreamTest, Yardstick
from cifarops.monitoring.suite import Suite

MIN_PREDICTIONS = 50  # fewer are not described; the test itself needs no minimum
_CALM = 0.05
_HARMLESS = 0.02


class DriftCheck(BaseModel):
    """What the answers say about the inputs.

    Attributes:
        drift: Whether there is an alarm.
        predictions: How many the test has seen since it began, up to the alarm.
        p_value: Chance that undrifted predictions would ever have come so far, however often one looks; None before
            the first one.
        moved: The view that the alarm won most with.
        findings: What each detector finds in the newest predictions; empty where they are too few.
        diagnosis: What kind of drift it is; None without an alarm, or where the robustness suite was not measured.
        estimate: Accuracy on the newest predictions, estimated without labels.
        estimate_error: How far off such estimates were on the robustness suite, on the average.
        examples: File with example images before and after, where images are kept.
        message: The same in a sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    drift: bool
    predictions: int
    p_value: float | None = None
    moved: str | None = None
    findings: tuple[Finding, ...] = ()
    diagnosis: Diagnosis | None = None
    estimate: Estimate | None = None
    estimate_error: float | None = None
    examples: str | None = None
    message: str


def check_drift(
    test: StreamTest, yardstick: Yardstick, window: Window, suite: Suite | None, params: MonitorParams
) -> DriftCheck:
    """Say where the test stands and, where it has raised the alarm, what happened.

    The alarm is over when the newest predictions, all of them later than it, look like the reference again. The test then
    begins anew, with half the chance of a false alarm that it had.

    Args:
        test: Caught up with the ledger.
        yardstick: Of the bundle that answered.
        window: The newest predictions: `params.window` of them or, after an alarm, more.
        suite: What the robustness suite showed, or None.
        params: Says how many predictions are described.
    """
    newest = yardstick.sample_of(window).newest(params.window)
    described = len(newest.predicted) >= MIN_PREDICTIONS
    findings = tuple(detector(newest, yardstick.sample) for detector in DETECTORS) if described else ()
    alarm = test.martingale.alarm
    if alarm is not None and _is_over(test, window, params.window, newest, yardstick):
        test.begin_anew(int(window.seqs[-1]))
        alarm = None
    seen = test.martingale.images
    moved = (*yardstick.views.names, *(f"share of {name}" for name in newest.classes))
    leading = moved[int(np.argmax(alarm.shares))] if alarm else None
    diagnosis = _diagnosis(yardstick, window, suite, leading) if alarm and described else None
    estimate = _estimate(yardstick, window, diagnosis, params.window) if described else None
    return DriftCheck(
        drift=alarm is not None,
        predictions=seen,
        p_value=1 / test.martingale.peak if len(window) else None,
        moved=leading,
        findings=findings,
        diagnosis=diagnosis,
        estimate=estimate,
        estimate_error=suite.errors("cott")[0] if suite else None,
        message=_message(seen, leading, diagnosis, estimate, suite, test.martingale.peak),
    )


def _is_over(test: StreamTest, window: Window, size: int, newest: Sample, yardstick: Yardstick) -> bool:
    """Whether a full window, all of it later than the alarm, shows nothing."""
    if len(window) < size or int(window.seqs[-size]) <= test.alarm_seq:
        return False
    found = [detector(newest, yardstick.sample).p_value for detector in (outputs, labels, pixels)]
    return min(p for p in found if p is not None) > _CALM / len(found)


def _diagnosis(
    yardstick: Yardstick, window: Window, suite: Suite | None, leading: str | None
) -> Diagnosis | None:
    found = diagnose(
        yardstick.sample_of(window),
        yardstick.sample,
        yardstick.reference.labels,
        suite.causes() if suite else [],
        classes_moved=bool(leading and leading.startswith("share of ")),
    )
    # Without the suite anything but a new mix of classes looks new.
    return found if suite or found.kind == "label shift" else None


def _estimate(yardstick: Yardstick, window: Window, diagnosis: Diagnosis | None, last: int) -> Estimate:
    images = min(last, diagnosis.images) if diagnosis else last
    mix = np.array([each.value for each in diagnosis.mix.values()]) if diagnosis and diagnosis.mix else None
    known = yardstick.reference.probabilities(yardstick.bundle.manifest.temperature)
    return Estimator.fitted(known, yardstick.reference.labels)(window.probabilities[-images:], mix)


def _message(
    seen: int,
    leading: str | None,
    diagnosis: Diagnosis | None,
    estimate: Estimate | None,
    suite: Suite | None,
    peak: float,
) -> str:
    if leading is None:
        return f"No drift: evidence has reached {peak:.2g} over {seen:,} predictions."
    cause = diagnosis.sentence if diagnosis else f"What moved most: {leading}."
    found = f"Drift, sure after {seen:,} predictions. {cause}"
    if estimate is None:
        return found
    usual = suite.accuracy if suite else None
    error = f", give or take {suite.errors('cott')[0]:.1%}" if suite else ""
    harmless = usual is not None and estimate.cott > usual - _HARMLESS
    return f"{found} Accuracy is estimated at {estimate.cott:.1%}{error}{': probably harmless' if harmless else ''}."
