"""From a judged bundle to a version."""

from pathlib import Path

from cifarops.bundle.store import Bundle
from cifarops.errors import UsageError
from cifarops.evaluation.gate import Verdict
from cifarops.evaluation.verdicts import newest_verdict
from cifarops.ledger.records import Decision
from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry, Version
from cifarops.training.run import run_of


def register(
    bundle: Bundle,
    *,
    registry: Registry,
    ledger: Ledger,
    runs: Path,
    verdicts: Path,
    actor: str,
    verdict: Verdict | None = None,
) -> Version:
    """Register a bundle with its newest verdict and the run behind it, and record who did; once, however often it is asked.

    Args:
        bundle: What was judged.
        registry: Where it becomes a version.
        ledger: Where the registration is recorded.
        runs: Directory of training runs, searched for the one that was packaged as this bundle.
        verdicts: Directory of verdicts, searched for the newest on this bundle.
        actor: Who registers.
        verdict: Taken instead of the newest.

    Raises:
        UsageError: There is no verdict on it, or the verdict is not `promote`.
        IntegrityError: The registry or a verdict file is damaged.
    """
    judged = verdict or newest_verdict(verdicts, bundle.digest)
    if judged is None:
        raise UsageError(
            f"The gate has not judged bundle {bundle.digest[:12]}.",
            fix="Judge it first: cifarops evaluate gate.",
        )
    run = run_of(runs, bundle.digest)
    version = registry.register(bundle, run_id=run.id if run else None, verdict=judged)
    evidence = {"digest": bundle.digest, "run": version.run_id, "verdict": judged.answer}
    if not ledger.count_decisions("register", version=version.number):  # else it was registered before
        ledger.record(
            Decision("register", None, version.number, actor, f"Version {version.number}", evidence)
        )
    return version
