"""The second act: production lives, the world changes, and the loop repairs."""

from cifarops.demo.launch import refused, verdict_result, verdict_sentence
from cifarops.demo.scene import SHIFT, Scene
from cifarops.errors import CifaropsError
from cifarops.retraining.retrain import retrain as retrain_once
from cifarops.simulation.traffic import deliver_labels
from cifarops.story import Step

_REQUESTS = 2000
_LABEL_COVERAGE = 0.5
_DRIFT_STEP = 100
_DRIFT_LIMIT = 1500
_DRIFT_TOTAL = 2000


def requests(scene: Scene, step: Step) -> None:
    """Two thousand requests over HTTP, and a check that finds nothing."""
    log = scene.traffic("clean", _REQUESTS)
    report = scene.check()
    step.result = {
        "sent": log.sent,
        "failed": len(log.failures),
        "p50_ms": log.percentile(50),
        "p99_ms": log.percentile(99),
        "drift": report.drift.drift,
    }
    step.says = (
        f"{log.sent:,} requests, {len(log.failures)} failed, median {log.percentile(50):.1f} ms;"
        f" drift check: {'ALARM' if report.drift.drift else 'quiet'}."
    )


def late_labels(scene: Scene, step: Step) -> None:
    """Half of the true labels arrive, and accuracy can be stated with an interval."""
    sent = deliver_labels(scene.client(), scene.phases[-1].log, coverage=_LABEL_COVERAGE)
    labels = scene.check().labels
    step.result = {"labels": sent, "accuracy": labels.accuracy.model_dump() if labels.accuracy else None}
    step.says = f"{sent:,} labels came late. " + labels.message


def drift(scene: Scene, step: Step) -> None:
    """Fog rolls in; the outputs give it away before any label does."""
    sent = 0
    while sent < _DRIFT_LIMIT:
        scene.traffic("drifted", _DRIFT_STEP, shifted=True)
        sent += _DRIFT_STEP
        report = scene.check()
        if report.drift.drift:
            break
    else:
        raise CifaropsError(
            f"{sent:,} drifted requests raised no alarm.",
            fix="Raise the severity, or monitor.drift_alpha in params.yaml.",
        )
    step.result = {"delay_requests": sent, "p_value": report.drift.p_value, "shift": SHIFT}
    step.says = f"Alarm after {sent} drifted requests, without a single label. {report.drift.message}"


def damage(scene: Scene, step: Step) -> None:
    """The drift goes on, its labels arrive, and the damage has a number."""
    scene.traffic("drifted", _DRIFT_TOTAL, shifted=True)
    for phase in scene.phases:
        if phase.name == "drifted":
            deliver_labels(scene.client(), phase.log)
    labels = scene.check().labels
    step.result = {
        "accuracy": labels.accuracy.model_dump() if labels.accuracy else None,
        "alarm": labels.alarm,
    }
    step.says = labels.message


def retrain(scene: Scene, step: Step) -> None:
    """Train further on old and new images, package, and judge on both."""
    outcome = retrain_once(
        "production",
        scene.params,
        budgets=scene.budgets,
        settings=scene.settings,
        ledger=scene.ledger,
        registry=scene.registry,
        progress=scene.progress,
    )
    scene.verdicts.append(("retrained", outcome.verdict))
    step.result = {"snapshot": outcome.snapshot.id, **verdict_result(outcome.verdict)}
    step.says = verdict_sentence(outcome.verdict)
    if outcome.version is None:
        raise refused(outcome.verdict)
    scene.version = outcome.version


def promote(scene: Scene, step: Step) -> None:
    """Staging, then production, swapped while requests flow."""
    with scene.under_load(shifted=True) as load:
        scene.promote(scene.version, "staging", "retrained model passed the gate")
        scene.promote(scene.version, "production", "repairs the drift")
    after = scene.traffic("repaired", 1000, shifted=True)
    deliver_labels(scene.client(), after)
    labels = scene.check().labels
    step.result = {
        "version": scene.version.number,
        "requests_during_swap": load.sent,
        "failed_during_swap": len(load.failures),
        "accuracy": labels.accuracy.model_dump() if labels.accuracy else None,
    }
    step.says = (
        f"Version {scene.version.number} took over without a restart; {load.sent} requests meanwhile,"
        f" {len(load.failures)} failed. {labels.message}"
    )
