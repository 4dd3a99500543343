"""The third act: a bad model is refused, and one that fools the gate is rolled back."""

from cifarops.config import Params
from cifarops.demo.launch import verdict_result, verdict_sentence
from cifarops.demo.scene import Scene
from cifarops.deployment.watch import watch
from cifarops.errors import CifaropsError
from cifarops.evaluation.gate import Verdict
from cifarops.registry.versions import Version
from cifarops.simulation.traffic import deliver_labels
from cifarops.story import Step

_BAD_EPOCHS = 0.3
_SPECIALIST_EPOCHS = 3
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
    """A model that only knows the old images passes the gate on the test set, but fails in the fog."""
    version, verdict = _treacherous(scene)
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
        f"Version {version.number} passed the gate, production said no: {report.message}"
        f" Version {good} answers again, {len(load.failures)} of {load.sent} requests failed meanwhile."
    )


def _treacherous(scene: Scene) -> tuple[Version, Verdict]:
    """Return a version that passed the gate, and its verdict: the first one trained further on the old images.

    Where retraining cost nothing on the old images, that is not surely better than production, and the gate says so.
    Then it is the first version itself, which passed before the fog came.
    """
    params = _with(scene.params, epochs=_SPECIALIST_EPOCHS)
    run = scene.train(scene.snapshot, params, warm_start=scene.first_version)
    bundle = scene.package(run, scene.snapshot)
    verdict = scene.gate("specialist", bundle, scene.snapshot, against=scene.running())
    if verdict.answer != "promote":
        return scene.first_version, scene.verdict
    return scene.register(bundle, verdict), verdict


def _with(params: Params, **train: float) -> Params:
    return params.model_copy(update={"train": params.train.model_copy(update=train)})
