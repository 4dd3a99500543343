"""One look at an environment: drift and accuracy of the version that it runs, and alarms into the history."""

import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from cifarops.bundle.store import find_bundle
from cifarops.config import MonitorParams
from cifarops.data.snapshot import open_snapshot
from cifarops.errors import CifaropsError, UsageError
from cifarops.evaluation.metrics import Interval, wilson
from cifarops.ledger.records import Decision, DecisionKind, EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.monitoring.detectors import Finding
from cifarops.monitoring.drift import DriftCheck, check_drift
from cifarops.monitoring.examples import save_examples
from cifarops.monitoring.labels import LabelCheck, check_labels
from cifarops.monitoring.stream import StreamTest, Yardstick
from cifarops.monitoring.suite import load_suite, measure_suite
from cifarops.progress import Progress, silent

AlarmKind = Literal["drift_alarm", "accuracy_alarm"]
_DIAGNOSED = 4096  # predictions, of which a diagnosis takes those that have moved most surely
_CLEARED: dict[AlarmKind, DecisionKind] = {
    "drift_alarm": "drift_cleared",
    "accuracy_alarm": "accuracy_cleared",
}


class MonitoringReport(BaseModel):
    """What one look found.

    Attributes:
        version: The version that the environment runs; everything is about its answers only.
        digest: Digest of its bundle.
        at: Seconds since the epoch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    environment: EnvironmentName
    version: int
    digest: str
    at: float
    drift: DriftCheck
    labels: LabelCheck

    @property
    def alarms(self) -> tuple[AlarmKind, ...]:
        """The alarms that are on."""
        drift: tuple[AlarmKind, ...] = ("drift_alarm",) if self.drift.drift else ()
        return (*drift, "accuracy_alarm") if self.labels.alarm else drift

    def facts(self) -> dict[str, Any]:
        """Return what a table for people shows."""
        accuracy = self.labels.accuracy
        return {
            "predictions seen": self.drift.predictions,
            "drift, p value": self.drift.p_value,
            "what moved most": self.drift.moved,
            "kind of drift": self.drift.diagnosis.kind if self.drift.diagnosis else None,
            **{each.detector: _shown(each) for each in self.drift.findings},
            "accuracy, estimated": f"{self.drift.estimate.cott:.1%}" if self.drift.estimate else None,
            "example images": self.drift.examples,
            "accuracy": (
                f"{accuracy.value:.1%} ({accuracy.low:.1%} to {accuracy.high:.1%})" if accuracy else None
            ),
            "accuracy on valid": f"{self.labels.reference:.1%}",
            "labels": self.labels.labels,
            "label coverage": f"{self.labels.coverage:.0%}",
            "alarms": ", ".join(self.alarms) or "none",
        }

    def advice(self) -> str:
        """Return both findings as sentences, and what to do about an alarm."""
        remedy = " Do: cifarops retrain, or cifarops deploy rollback." if self.alarms else ""
        return f"{self.drift.message} {self.labels.message}{remedy}"


def check(
    environment: EnvironmentName,
    *,
    ledger: Ledger,
    bundles: Path,
    snapshots: Path,
    folder: Path,
    params: MonitorParams,
    actor: str,
    progress: Progress = silent,
) -> MonitoringReport:
    """Look at what the running version has answered since the last look, and at its newest labelled predictions.

    An alarm is recorded when it begins, and its end when it ends, not at every look in between.

    Args:
        environment: Where to look.
        ledger: Holds predictions, feedback and the history.
        bundles: Directory of bundles.
        snapshots: Directory of snapshots; with an alarm, the robustness suite is shown to the bundle if it never was.
        folder: Directory of what monitoring keeps.
        params: Window and levels.
        actor: Who looks.
        progress: Told about long work.

    Raises:
        UsageError: The environment runs nothing, or the bundle is not in this workspace.
        IntegrityError: The bundle or the ledger is damaged.
        DataError: The predictions are not the bundle's.
    """
    state = ledger.environment(environment)
    if state.version is None or state.digest is None:
        raise UsageError(
            f"{environment} runs no version, so there is nothing to watch.",
            fix=f"Promote one: cifarops deploy promote VERSION --to {environment}.",
        )
    bundle = find_bundle(bundles, state.digest)
    yardstick = Yardstick.of(bundle)
    test = StreamTest(
        yardstick, environment, state.version, ledger=ledger, folder=folder, alpha=params.drift_alpha
    )
    test.catch_up(progress)
    alarmed = test.martingale.alarm is not None
    newest = ledger.window(
        environment, last=max(params.window, _DIAGNOSED if alarmed else 0), version=state.version
    )
    labelled = ledger.window(environment, last=params.window, version=state.version, labelled=True)
    suite = load_suite(folder, bundle)
    if suite is None and alarmed:
        with suppress(CifaropsError):  # the alarm stands without it
            snapshot = open_snapshot(snapshots, bundle.manifest.snapshot)
            suite = measure_suite(bundle, snapshot, folder=folder, progress=progress)
    drift = check_drift(test, yardstick, newest, suite, params)
    if drift.drift:
        name = f"{environment}-{state.version}-{test.alarm_seq}.png"
        examples = save_examples(
            ledger, environment, state.version, test.alarm_seq, folder / "examples" / name
        )
        drift = drift.model_copy(update={"examples": str(examples) if examples else None})
    report = MonitoringReport(
        environment=environment,
        version=state.version,
        digest=state.digest,
        at=time.time(),
        drift=drift,
        labels=check_labels(
            labelled, newest.last(params.window), _accuracy(yardstick), bundle.manifest.classes, params
        ),
    )
    drift, labels = report.drift, report.labels
    _note(
        report,
        "drift_alarm",
        drift.message,
        drift.model_dump(),
        ledger,
        actor,
        judged=drift.p_value is not None,
    )
    _note(
        report,
        "accuracy_alarm",
        labels.message,
        labels.model_dump(),
        ledger,
        actor,
        judged=labels.labels >= params.min_labels,
    )
    return report


def _accuracy(yardstick: Yardstick) -> Interval:
    """Return the accuracy on `valid` with the interval that a sample of its size leaves."""
    right = yardstick.sample.predicted == yardstick.reference.labels
    return wilson(int(right.sum()), len(right))


def _shown(finding: Finding) -> str:
    moved = f", {finding.moved}" if finding.moved else ""
    p_value = "" if finding.p_value is None else f", p = {finding.p_value:.2g}"
    return f"{finding.statistic:.3g}{p_value}{moved}"


def _note(
    report: MonitoringReport,
    kind: AlarmKind,
    message: str,
    evidence: dict[str, Any],
    ledger: Ledger,
    actor: str,
    *,
    judged: bool,
) -> None:
    """Record that an alarm began or ended; a look with too little to judge on changes nothing."""
    if judged:
        on, cleared = kind in report.alarms, _CLEARED[kind]
        noted, opposite = (kind, cleared) if on else (cleared, kind)
        decision = Decision(noted, report.environment, report.version, actor, message, evidence)
        ledger.record_turn(decision, opposite=opposite, may_begin=on)
