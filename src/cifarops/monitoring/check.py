"""One look at an environment: drift and accuracy of the version that it runs, and alarms into the history."""

import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from cifarops.bundle.store import find_bundle
from cifarops.config import MonitorParams
from cifarops.errors import UsageError
from cifarops.ledger.records import Decision, DecisionKind, EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.monitoring.drift import DriftCheck, check_drift
from cifarops.monitoring.labels import LabelCheck, check_labels

AlarmKind = Literal["drift_alarm", "accuracy_alarm"]
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
            "predictions looked at": self.drift.predictions,
            "drift, p value": self.drift.p_value,
            "most shifted class": self.drift.shifted_class,
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
    environment: EnvironmentName, *, ledger: Ledger, bundles: Path, params: MonitorParams, actor: str
) -> MonitoringReport:
    """Look at the newest `params.window` predictions of the running version, and at its newest labelled ones.

    An alarm is recorded when it begins, and its end when it ends, not at every look in between.

    Args:
        environment: Where to look.
        ledger: Holds predictions, feedback and the history.
        bundles: Directory of bundles.
        params: Window and levels.
        actor: Who looks.

    Raises:
        UsageError: The environment runs nothing, or the bundle is not in this workspace.
        IntegrityError: The bundle or the ledger is damaged.
    """
    state = ledger.environment(environment)
    if state.version is None or state.digest is None:
        raise UsageError(
            f"{environment} runs no version, so there is nothing to watch.",
            fix=f"Promote one: cifarops deploy promote VERSION --to {environment}.",
        )
    bundle = find_bundle(bundles, state.digest)
    newest = ledger.window(environment, last=params.window, version=state.version)
    labelled = ledger.window(environment, last=params.window, version=state.version, labelled=True)
    report = MonitoringReport(
        environment=environment,
        version=state.version,
        digest=state.digest,
        at=time.time(),
        drift=check_drift(newest, bundle, params),
        labels=check_labels(labelled, newest, bundle.manifest.metrics["accuracy"], params),
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
