"""`cifarops flow release`: from develop to release, from release to main, and the tag."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, facts, group
from cifarops.cli.flow_common import DryRun, open_flow, show_release, tell_step

app = group("Cut a release, bring it to main, publish it.")


@app.command()
def cut(dry_run: DryRun = False, as_json: JsonFlag = False) -> None:
    """Freeze develop and open the merge request that brings it to release, with the changelog."""
    from cifarops.flow import release

    git, policy, forge = open_flow()
    found = release.cut(git, policy, forge, dry_run=dry_run, listener=tell_step)
    show_release(found, asdict(found), as_json)


@app.command()
def finish(dry_run: DryRun = False, as_json: JsonFlag = False) -> None:
    """Open the merge request that brings release to main, and say what is missing before it can merge."""
    from cifarops.flow import release

    git, policy, forge = open_flow()
    found = release.finish(git, policy, forge, dry_run=dry_run, listener=tell_step)
    show_release(found, asdict(found), as_json)


@app.command()
def publish(
    commit: Annotated[str, typer.Option(help="The commit of main that production runs now.")] = "origin/main",
    release_json: Annotated[
        Path | None, typer.Option(help="File that pins the model and the code; kept with the release.")
    ] = None,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Tag a commit of main with the next version and make a release of it (the pipeline does this)."""
    from cifarops.flow import publish as publishing

    git, policy, forge = open_flow()
    found = publishing.publish(
        git,
        policy,
        forge,
        commit=commit,
        release_file=publishing.read_release_file(release_json) if release_json else None,
        dry_run=dry_run,
        listener=tell_step,
    )
    emit(
        asdict(found),
        as_json=as_json,
        human=facts(found.tag, {"commit": found.commit, "where": found.url, "notes": found.notes}),
    )
