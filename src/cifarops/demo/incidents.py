"""The third act: a bad model is refused, and one that fools the gate is rolled back."""

from cifarops.config import Params
from cifarops.demo.launch import refused, verdict_result, verdict_sentence
from cifarops.demo.scene import Scene
from cifarops.deployment.watch import watch
from cifarops.errors import CifaropsError
from cifarops.simulation.traffic import deliver_labels
from cifarops.story import Step

_BAD_EPOCHS = 0.3
_SPECIALIST_PATIENCE = 1.5
_SPECIALIST_EPOCHS = 8
_WATCH_STEP = 200
_WATCH_LIMIT = 1000


def bad_model(scene: Scene, step: Step) -> None:
    """A model whose training was cut short is refused, and production never sees it."""
    params = _with(scene.params, epochs=_BAD_EPOCHS)
    bundle = scene.package(scene.train(scene.snapshot, params), scene.snapshot)
    verdict = scene.gate("undertrained", bundle, scene.snapshot, against=scene.running())
    step.result = verdict_result(verdict)
    step.says = verdict_sentence(verdict)
    if verdict.answer == "promote":
        raise CifaropsError(
            "The gate let an undertrained model pass.", fix="Report this: the gate is broken."
        )


def rollback(scene: Scene, step: Step) -> None:
    """A model trained further on the old images only beats production on the test set, but not in the fog."""
    epochs = min(_SPECIALIST_PATIENCE * scene.params.train.epochs, _SPECIALIST_EPOCHS)
    params = _with(scene.params, epochs=epochs)
    run = scene.train(scene.snapshot, params, warm_start=scene.first_version)
    bundle = scene.package(run, scene.snapshot)
    verdict = scene.gate("specialist", bundle, scene.snapshot, against=scene.running())
    if verdict.answer != "promote":
        raise refused(verdict)
    version = scene.registry.register(bundle, run_id=run.id, verdict=verdict)
    good = scene.version.number
    sent = 0
    with scene.under_load(shifted=True) as load:
        scene.promote(version, "staging", "better on the test set")
        scene.promote(version, "production", "better on the test set")
        while sent < _WATCH_LIMIT:
            log = scene.traffic("specialist", _WATCH_STEP, shifted=True)
            sent += log.sent
            deliver_labels(scene.client(), log)
            report = watch(
                "production",
                ledger=scene.ledger,
                registry=scene.registry,
                params=scene.params.monitor,
                actor=scene.settings.actor,
            )
            if report.verdict == "roll back":
                break
    after = scene.traffic("rolled back", 500, shifted=True)
    answering = {answer.version for answer in after.answered}
    if answering != {good}:
        raise CifaropsError(
            f"After the rollback production answered with versions {sorted(answering)}, not {good}.",
            fix="Look with: cifarops deploy status.",
        )
    step.result = {
        "gate": verdict_result(verdict),
        "bad_version": version.number,
        "restored_version": good,
        "requests_until_rollback": sent,
        "failed_during_swaps": len(load.failures),
        "accuracy_after": after.accuracy(),
    }
    step.says = (
        f"The gate said {verdict.answer}, production said no: {report.message}"
        f" Version {good} answers again, {len(load.failures)} of {load.sent} requests failed meanwhile."
    )


def _with(params: Params, **train: float) -> Params:
    return params.model_copy(update={"train": params.train.model_copy(update=train)})
