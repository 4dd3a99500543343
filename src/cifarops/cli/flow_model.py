"""`cifarops flow candidate`, `build` and `report`: what a commit makes of the model and of the code."""

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
    group,
    progress_bars,
    write_pointer,
)
from cifarops.cli.flow_common import open_clone
from cifarops.settings import Settings

app = group("What a commit makes of the model and of the code.")

Origin = Annotated[
    str | None, typer.Option("--from", metavar="PATH|URL", help="Where the images are, as for data ingest.")
]


@app.command()
def candidate(
    origin: Origin = None,
    params: ParamsFile = PARAMS,
    profile: ProfileName = None,
    out: Annotated[Path | None, typer.Option(help="Write the result as a small JSON file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Train, package, judge and register the model of the checked-out commit, each once.

    The model that the release takes along is that, or production's where the new one is not surely better.
    """
    from dataclasses import asdict

    from cifarops.config import load_params
    from cifarops.flow.candidate import make_candidate
    from cifarops.flow.recipe import recipe_of
    from cifarops.ledger.store import Ledger
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    git, policy = open_clone()
    recipe = recipe_of(git, load_params(params, profile), origin)
    with Ledger(settings.ledger) as ledger, progress_bars() as progress:
        made = make_candidate(
            recipe,
            budgets=policy.gate.budgets(recipe.params.profile),
            settings=settings,
            ledger=ledger,
            registry=Registry.of(settings),
            progress=progress,
        )
    write_pointer(out, asdict(made))
    emit(asdict(made), as_json=as_json, human=facts("Candidate", made.facts()))


@app.command()
def build(
    out: Annotated[Path | None, typer.Option(help="Write a pointer to the code release.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Build the code of the checked-out commit, or find what was built of the same files before."""
    from cifarops.flow.built import built

    git, _ = open_clone()
    code = built(git, releases=Settings.from_environment().releases)
    document = {"code": code.sha256, **code.record.model_dump(mode="json")}
    write_pointer(out, document)
    emit(document, as_json=as_json, human=facts(f"Code release {code.sha256[:12]}", document))


@app.command()
def report(
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.md, report.json and metrics.txt.")
    ] = None,
    merge_request: Annotated[
        int | None, typer.Option(help="Number of the merge request that gets it as a note.")
    ] = None,
    origin: Origin = None,
    params: ParamsFile = PARAMS,
    profile: ProfileName = None,
    experiment: Annotated[
        str | None, typer.Option(help="Take experiments/NAME.yaml instead of a profile.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare the model of the checked-out commit with the one in production, on `valid`, with intervals.

    A model that was made of the same recipe before, for another branch, is looked up and not trained again.
    """
    from cifarops.bundle.store import find_bundle
    from cifarops.config import load_params
    from cifarops.data.snapshot import open_snapshot
    from cifarops.flow.experiments import load_experiment
    from cifarops.flow.forge import find_forge
    from cifarops.flow.judged import judged
    from cifarops.flow.recipe import follow, recipe_of
    from cifarops.flow.report import report as compare
    from cifarops.ledger.store import Ledger

    settings = Settings.from_environment()
    git, policy = open_clone()
    chosen = load_experiment(params, experiment) if experiment else load_params(params, profile)
    recipe = recipe_of(git, chosen, origin)
    with Ledger(settings.ledger) as ledger:
        running = ledger.environment("production").digest
    with progress_bars() as progress:
        bundle = follow(recipe, settings, progress)
        found = compare(
            recipe.commit,
            bundle,
            find_bundle(settings.bundles, running) if running else None,
            open_snapshot(settings.snapshots, bundle.manifest.snapshot),
            verdict=judged(bundle, running, policy.gate.budgets(recipe.params.profile), settings),
            progress=progress,
        )
    if out is not None:
        found.write(out)
    if merge_request is not None:
        forge = find_forge(git, policy, settings)
        forge.comment(merge_request, found.markdown(), key="model-report")
    emit(found.model_dump(mode="json"), as_json=as_json, human=found.markdown())
