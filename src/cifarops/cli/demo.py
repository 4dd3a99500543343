"""`cifarops demo`."""

import os
from typing import Annotated

import typer

from cifarops.budgets import POLICY, load_budgets
from cifarops.cli.common import PARAMS, JsonFlag, ParamsFile, PolicyFile, emit, notes, progress_bars
from cifarops.config import SourceKind, load_params
from cifarops.settings import Settings


def command(
    source: Annotated[SourceKind, typer.Option(help="Where the images come from.")] = "synthetic",
    origin: Annotated[
        str | None, typer.Option("--from", help="Directory, archive or URL, for folder and cifar10.")
    ] = None,
    params_file: ParamsFile = PARAMS,
    profile: Annotated[str, typer.Option(help="Profile of params.yaml.")] = "demo",
    policy: PolicyFile = POLICY,
    as_json: JsonFlag = False,
) -> None:
    """Play the whole life of a model for real, step by step, in workspace/demo."""
    from cifarops.demo.story import run_demo

    settings = Settings.from_environment()
    if "CIFAROPS_WORKSPACE" not in os.environ:
        settings = Settings.from_environment({**os.environ, "CIFAROPS_WORKSPACE": "workspace/demo"})
    params = load_params(params_file, profile, {"data": {"source": source}})
    with progress_bars() as progress:
        summary = run_demo(
            params,
            load_budgets(policy, params.profile),
            settings=settings,
            origin=origin,
            progress=progress,
            announce=_say,
        )
    emit(
        summary.as_json(),
        as_json=as_json,
        human=f"Done in {summary.seconds:.0f} s: {summary.requests_sent:,} requests,"
        f" {summary.requests_failed} failed. Look at {settings.workspace / 'report.html'}",
    )


def _say(line: str) -> None:
    notes.print(line, markup=False, highlight=False)
