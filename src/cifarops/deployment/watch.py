"""The watch over a fresh version: does production itself say that it is worse than the one before?"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from cifarops.config import MonitorParams
from cifarops.deployment.aliases import Aliases
from cifarops.deployment.rollout import rollback
from cifarops.evaluation.metrics import Interval, wilson
from cifarops.ledger.records import EnvironmentName
from cifarops.ledger.store import Ledger

Advice = Literal["keep", "roll back", "undecided"]


@dataclass(frozen=True)
class Record:
    """A version's labelled predictions in production.

    Attributes:
        right: How many agreed with the true label.
        labels: Of how many.
    """

    version: int
    right: int
    labels: int


@dataclass(frozen=True)
class WatchReport:
    """What the watch found.

    Attributes:
        verdict: `roll back` was carried out when the report is returned.
        message: The finding in one sentence.
        current: The version that runs (before a rollback), or None where nothing does.
        previous: The one before, or None where there is none.
        difference: Accuracy of `current` minus that of `previous`, or None where either lacks labels.
        warning: Why the registry's aliases did not follow a rollback; None when all is well.
    """

    environment: EnvironmentName
    verdict: Advice
    message: str
    current: Record | None = None
    previous: Record | None = None
    difference: Interval | None = None
    warning: str | None = None

    def document(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        difference = self.difference.model_dump() if self.difference else None
        return {**asdict(self), "difference": difference}


def watch(
    environment: EnvironmentName, *, ledger: Ledger, registry: Aliases, params: MonitorParams, actor: str
) -> WatchReport:
    """Compare the running version with the one before by their labelled predictions; roll back when surely worse.

    Each version is judged on its newest `params.window` labelled predictions, from `params.min_labels` on. The two
    windows are of different times: a world that changed between them counts for or against the new version.

    Args:
        environment: Which environment.
        ledger: Where predictions and labels are.
        registry: Its aliases follow a rollback.
        params: `drift_alpha` is the chance that one look rolls back a version that is as good as the one before;
            `max_accuracy_drop` is the loss that a version to keep surely does not have.
        actor: Who is recorded with a rollback.

    Raises:
        ConflictError: Someone else changed the environment meanwhile.
        UnavailableError: A server did not follow the rollback.
    """
    state = ledger.environment(environment)
    if state.version is None or state.previous_version is None:
        return WatchReport(
            environment, "undecided", f"{environment} has no previous version to compare with."
        )
    current = _record(ledger, environment, state.version, params.window)
    previous = _record(ledger, environment, state.previous_version, params.window)
    report = judge(environment, current, previous, params)
    if report.verdict == "roll back":
        result = rollback(
            environment,
            ledger=ledger,
            registry=registry,
            actor=actor,
            reason=report.message,
            evidence=report.document(),
        )
        return replace(report, warning=result.warning)
    return report


def judge(
    environment: EnvironmentName, current: Record, previous: Record, params: MonitorParams
) -> WatchReport:
    """Judge a version's record against the one of the version before."""
    for record in (current, previous):
        if record.labels < params.min_labels:
            message = f"Version {record.version} has {record.labels} labels in {environment}; {params.min_labels} are needed."
            return WatchReport(environment, "undecided", message, current, previous)
    difference = accuracy_difference(current, previous, alpha=params.drift_alpha)
    found = (
        f"Version {current.version} is right {current.right / current.labels:.1%} of the time,"
        f" version {previous.version} was {previous.right / previous.labels:.1%}"
        f" (difference {difference.low:+.1%} to {difference.high:+.1%}):"
    )
    verdict: Advice
    if difference.high < 0:
        verdict, meaning = "roll back", "surely worse."
    elif difference.low > -params.max_accuracy_drop:
        verdict, meaning = "keep", f"surely not {params.max_accuracy_drop:.0%} worse."
    else:
        verdict, meaning = "undecided", "more labels are needed."
    return WatchReport(environment, verdict, f"{found} {meaning}", current, previous, difference)


def accuracy_difference(current: Record, previous: Record, *, alpha: float) -> Interval:
    """Return the difference of two accuracies with bounds that each fail with chance `alpha`.

    Newcombe 1998, "Interval estimation for the difference between independent proportions", method 10: from the two
    Wilson intervals.
    """
    new = wilson(current.right, current.labels, 2 * alpha)
    old = wilson(previous.right, previous.labels, 2 * alpha)
    value = new.value - old.value
    below = ((new.value - new.low) ** 2 + (old.high - old.value) ** 2) ** 0.5
    above = ((new.high - new.value) ** 2 + (old.value - old.low) ** 2) ** 0.5
    return Interval(value=value, low=value - below, high=value + above)


def _record(ledger: Ledger, environment: EnvironmentName, version: int, last: int) -> Record:
    window = ledger.window(environment, last=last, version=version, labelled=True)
    return Record(version, int((window.predicted == window.truth).sum()), len(window))
