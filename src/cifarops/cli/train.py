"""`cifarops train`: from a snapshot to a run."""

from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import (
    PARAMS,
    JsonFlag,
    ParamsFile,
    ProfileName,
    emit,
    facts,
    notes,
    pointed,
    progress_bars,
    write_pointer,
)
from cifarops.config import load_params
from cifarops.errors import UsageError
from cifarops.settings import Settings


def command(
    snapshot: Annotated[
        str | None,
        typer.Option(help="Snapshot id, a beginning of one, or a pointer file; by default the newest."),
    ] = None,
    profile: ProfileName = None,
    params: ParamsFile = PARAMS,
    experiment: Annotated[
        str | None, typer.Option(help="Train experiments/NAME.yaml instead of a profile.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of train.seed.")] = None,
    epochs: Annotated[float | None, typer.Option(min=0, help="Instead of train.epochs.")] = None,
    resume: Annotated[str | None, typer.Option(help="Carry on the interrupted run with this id.")] = None,
    warm_start: Annotated[
        str | None, typer.Option(help="Start from the weights of the run with this id.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write a pointer to the run as a small JSON file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train a network on a snapshot; Ctrl-C leaves a checkpoint that --resume carries on."""
    from cifarops.data.snapshot import newest_snapshot, open_snapshot
    from cifarops.flow.experiments import load_experiment
    from cifarops.training.run import open_plan, open_run
    from cifarops.training.trainer import train

    if experiment and (profile or seed is not None or epochs is not None):
        raise UsageError(
            "An experiment says itself which profile, seed and epochs it takes.",
            fix=f"Write them into experiments/{experiment}.yaml, below profile and overrides.train.",
        )
    settings = Settings.from_environment()
    plan = open_plan(settings.runs, resume) if resume else None
    named = plan.snapshot if plan else pointed(snapshot, "snapshot")
    chosen = open_snapshot(settings.snapshots, named) if named else newest_snapshot(settings.snapshots)
    notes.print(
        f"Snapshot {chosen.id}: {chosen.meta.source.kind}, {chosen.meta.source.name}.", highlight=False
    )
    overrides = {key: value for key, value in (("seed", seed), ("epochs", epochs)) if value is not None}
    if plan:
        chosen_params = plan.params
    elif experiment:
        chosen_params = load_experiment(params, experiment)
    else:
        chosen_params = load_params(params, profile, {"train": overrides})
    with progress_bars() as progress:
        run = train(
            chosen,
            chosen_params,
            runs=settings.runs,
            tracking_uri=settings.tracking_uri,
            cache=settings.cache,
            warm_start=open_run(settings.runs, warm_start).path if warm_start else None,
            resume=resume,
            progress=progress,
        )
    document = {
        "run": run.id,
        "snapshot": run.snapshot,
        "profile": run.profile,
        "synthetic": chosen.is_synthetic,
        "valid_accuracy": run.valid_accuracy,
        "seconds": run.seconds,
        "epochs": run.epochs,
        "images_per_second": run.images_per_second,
    }
    write_pointer(out, document)
    emit(document, as_json=as_json, human=facts(f"Run {run.id}", document))
