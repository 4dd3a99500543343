"""`cifarops flow install`: a clone set up for the process."""

from dataclasses import asdict
from pathlib import Path

import typer

from cifarops.cli.common import JsonFlag, emit, group, table

app = group("Set a clone up.")


@app.command()
def install(as_json: JsonFlag = False) -> None:
    """Set this clone and its worktrees up: hooks, and how Git merges. Doing it again changes nothing."""
    from cifarops.flow import install as installing
    from cifarops.flow.git import Git

    steps = installing.install(Git.find(Path.cwd()))
    emit(
        [asdict(step) for step in steps],
        as_json=as_json,
        human=table("This clone", ("what", "state", "do"), [(s.what, s.state, s.fix) for s in steps]),
    )
    if any(step.state == "missing" for step in steps):
        raise typer.Exit(1)
