"""One turn of the loop: from labelled production images to a gated candidate in the registry."""

from dataclasses import dataclass
from pathlib import Path

from cifarops.budgets import Budgets
from cifarops.bundle.store import Bundle, find_bundle
from cifarops.config import Params
from cifarops.data.extend import extend_snapshot
from cifarops.data.snapshot import Snapshot, open_snapshot
from cifarops.errors import DataError, UsageError
from cifarops.evaluation.gate import Verdict
from cifarops.evaluation.judgement import gate_bundle
from cifarops.ledger.records import Decision, EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.packaging.export import package
from cifarops.progress import Progress, silent
from cifarops.registry.registration import register
from cifarops.registry.versions import Registry, Version
from cifarops.settings import Settings
from cifarops.training.run import open_run
from cifarops.training.trainer import train


@dataclass(frozen=True)
class Retrained:
    """What a retraining led to; `version` is None unless the verdict is `promote`."""

    snapshot: Snapshot
    bundle: Bundle
    verdict: Verdict
    version: Version | None


def retrain(
    environment: EnvironmentName,
    params: Params,
    *,
    budgets: Budgets,
    settings: Settings,
    ledger: Ledger,
    registry: Registry,
    progress: Progress = silent,
) -> Retrained:
    """Train the version an environment runs further, on its old images and the newest labelled ones it has seen.

    Part of the new images is held out, and the gate judges there as well as on the test set: the candidate must win on
    one of them and lose on neither. Nothing is promoted here.

    Raises:
        UsageError: The environment runs nothing yet.
        DataError: Too few labelled images were kept.
    """
    incumbent = _running(environment, ledger, settings.bundles)
    images, labels = ledger.labelled_images(environment, last=params.retrain.max_images)
    if len(labels) < params.retrain.min_images:
        raise DataError(
            f"{environment} has {len(labels)} labelled images kept; a retraining needs {params.retrain.min_images}.",
            fix="Serve with --keep-images and send true labels to /feedback, or lower retrain.min_images.",
        )
    snapshot = extend_snapshot(
        settings.snapshots,
        open_snapshot(settings.snapshots, incumbent.manifest.snapshot),
        images,
        labels,
        seed=params.data.seed,
        recent_fraction=params.retrain.recent_fraction,
        repeat=params.retrain.repeat,
        name=f"{environment} feedback",
    )
    run = train(
        snapshot,
        _warm(params),
        runs=settings.runs,
        tracking_uri=settings.tracking_uri,
        cache=settings.cache,
        warm_start=_weights_of(incumbent, registry, settings.runs),
        progress=progress,
    )
    bundle = package(run, snapshot, bundles=settings.bundles, progress=progress)
    verdict = gate_bundle(
        bundle,
        incumbent,
        snapshot,
        budgets,
        ledger=ledger,
        verdicts=settings.verdicts,
        actor=settings.actor,
        progress=progress,
    )
    version = (
        register(
            bundle,
            registry=registry,
            ledger=ledger,
            runs=settings.runs,
            verdicts=settings.verdicts,
            actor=settings.actor,
            verdict=verdict,
        )
        if verdict.answer == "promote"
        else None
    )
    ledger.record(
        Decision(
            "retrain",
            environment,
            version.number if version else None,
            settings.actor,
            f"Retrained on {len(labels)} labelled images from {environment}: {verdict.answer}.",
            {"snapshot": snapshot.id, "bundle": bundle.digest, "run": run.id, "verdict": verdict.answer},
        )
    )
    return Retrained(snapshot, bundle, verdict, version)


def _running(environment: EnvironmentName, ledger: Ledger, bundles: Path) -> Bundle:
    digest = ledger.environment(environment).digest
    if digest is None:
        raise UsageError(
            f"{environment} runs no version yet, so there is nothing to retrain.",
            fix="Promote a first version: cifarops deploy promote VERSION --to staging.",
        )
    return find_bundle(bundles, digest)


def _weights_of(bundle: Bundle, registry: Registry, runs: Path) -> Path:
    version = registry.by_digest(bundle.digest)
    if version is None or version.run_id is None:
        raise UsageError(
            f"The registry knows no run behind bundle {bundle.digest[:12]}.",
            fix="Train and register a new version: cifarops train.",
        )
    return open_run(runs, version.run_id).path


def _warm(params: Params) -> Params:
    warm = {"epochs": params.retrain.epochs, "learning_rate": params.retrain.learning_rate}
    return params.model_copy(update={"train": params.train.model_copy(update=warm)})
