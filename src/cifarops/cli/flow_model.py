"""`cifarops flow candidate` and `report`: what a commit makes of the model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from cifarops.config import load_params
from cifarops.settings import Settings

if TYPE_CHECKING:
    from cifarops.flow.git import Git

app = group("What a commit makes of the model.")

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

    from cifarops.flow.candidate import make_candidate
    from cifarops.flow.recipe import recipe_of
    from cifarops.ledger.store import Ledger
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    recipe = recipe_of(_git(), load_params(params, profile), origin)
    with Ledger(settings.ledger) as ledger, progress_bars() as progress:
        made = make_candidate(
            recipe,
            settings=settings,
            ledger=ledger,
            registry=Registry(settings.tracking_uri, settings.bundles),
            progress=progress,
        )
    write_pointer(out, asdict(made))
    emit(asdict(made), as_json=as_json, human=facts("Candidate", made.facts()))


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
    as_json: JsonFlag = False,
) -> None:
    """Compare the model of the checked-out commit with the one in production, on `valid`, with intervals."""
    from cifarops.bundle.store import find_bundle
    from cifarops.data.snapshot import open_snapshot
    from cifarops.flow.forge import find_forge
    from cifarops.flow.policy import POLICY, load_policy
    from cifarops.flow.recipe import follow, recipe_of
    from cifarops.flow.report import report as compare
    from cifarops.ledger.store import Ledger

    settings = Settings.from_environment()
    git = _git()
    recipe = recipe_of(git, load_params(params, profile), origin)
    with Ledger(settings.ledger) as ledger:
        running = ledger.environment("production").digest
    with progress_bars() as progress:
        bundle = follow(recipe, settings, progress)
        found = compare(
            recipe.commit,
            bundle,
            find_bundle(settings.bundles, running) if running else None,
            open_snapshot(settings.snapshots, bundle.manifest.snapshot),
            progress,
        )
    if out is not None:
        found.write(out)
    if merge_request is not None:
        forge = find_forge(git, load_policy(git.root / POLICY), settings)
        forge.comment(merge_request, found.markdown(), key="model-report")
    emit(found.model_dump(mode="json"), as_json=as_json, human=found.markdown())


def _git() -> "Git":
    from cifarops.flow.git import Git

    return Git.find(Path.cwd())
