"""`cifarops flow start | status | freeze | unfreeze | backmerge | changelog | version | compare`."""

from dataclasses import asdict
from typing import Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, facts, group, table
from cifarops.cli.flow_common import DryRun, open_clone, open_flow, tell_step
from cifarops.settings import Settings

app = group("Follow the branch process.")


@app.command()
def start(
    kind: Annotated[str, typer.Argument(help="feature, fix, experiment or hotfix.")],
    name: Annotated[str, typer.Argument(help="Lower-case words joined by -.")],
    profile: Annotated[
        str, typer.Option(help="Profile of params.yaml that an experiment starts from.")
    ] = "demo",
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Make a work branch from the right base, as the remote has it now, and switch to it."""
    from cifarops.flow.start import start as begin

    git, policy = open_clone()
    found = begin(git, policy, kind, name, profile=profile, dry_run=dry_run, listener=tell_step)
    emit(
        asdict(found),
        as_json=as_json,
        human=facts(found.branch, {"starts from": found.base, "next": found.next}),
    )


@app.command()
def status(as_json: JsonFlag = False) -> None:
    """Show where you are, what you may do next, what is frozen, and which hotfix is not everywhere yet."""
    from cifarops.errors import UsageError
    from cifarops.flow.forge import find_forge
    from cifarops.flow.status import status as look

    git, policy = open_clone()
    try:
        forge = find_forge(git, policy, Settings.from_environment())
    except UsageError as error:  # no token: everything but the merge requests can be told
        forge = None
        tell_step(f"list merge requests: {error.message}", "would")
    found = look(git, policy, forge)
    emit(asdict(found), as_json=as_json, human=facts("Branch process", found.facts()))


@app.command()
def freeze(
    reason: Annotated[str, typer.Option(help="Why; everybody sees it.")] = "a release is being prepared",
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Let nothing merge into develop."""
    from cifarops.flow.freeze import freeze as put

    git, policy, forge = open_flow()
    found = put(git, policy, forge, reason=reason, dry_run=dry_run, listener=tell_step)
    emit([asdict(step) for step in found], as_json=as_json)


@app.command()
def unfreeze(
    if_merged: Annotated[
        bool, typer.Option("--if-merged", help="Only if release has all of develop (as the pipeline does).")
    ] = False,
    dry_run: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Let things merge into develop again (the pipeline does this when develop has got into release)."""
    from cifarops.flow.freeze import unfreeze as lift

    git, policy, forge = open_flow()
    found = lift(git, policy, forge, if_merged=if_merged, dry_run=dry_run, listener=tell_step)
    emit([asdict(step) for step in found], as_json=as_json)


@app.command()
def backmerge(dry_run: DryRun = False, as_json: JsonFlag = False) -> None:
    """Open what is missing of merge requests for hotfixes in main that are not everywhere yet.

    A branch that was deleted meanwhile is restored by a person; a job of the pipeline fails and says how.
    """
    from cifarops.flow import hotfix

    git, policy, forge = open_flow()
    restore = not Settings.from_environment().gitlab.in_job
    found = hotfix.backmerge(git, policy, forge, restore=restore, dry_run=dry_run, listener=tell_step)
    emit(
        [asdict(each) for each in found],
        as_json=as_json,
        human="\n\n".join(str(each) for each in found) or "Every hotfix in main is everywhere.",
    )


@app.command()
def changelog(
    revision: Annotated[str, typer.Argument(help="Up to where.")] = "origin/develop",
    as_json: JsonFlag = False,
) -> None:
    """Show what a revision brings that the last release has not: the next release's notes."""
    from cifarops.flow.numbering import forecast

    git, policy = open_clone()
    found = forecast(git, policy, revision)
    emit(asdict(found), as_json=as_json, human=found.notes)


@app.command()
def version(
    upcoming: Annotated[bool, typer.Option("--next", help="The version that comes next instead.")] = False,
    commit: Annotated[str, typer.Option(help="Which commit comes next.")] = "origin/develop",
    as_json: JsonFlag = False,
) -> None:
    """Print the newest release, or the version that a commit will be released as."""
    from cifarops.flow.numbering import forecast

    git, policy = open_clone()
    found = forecast(git, policy, commit)
    emit(
        {"version": found.version, "next": found.next},
        as_json=as_json,
        human=found.next if upcoming else found.version,
    )


@app.command()
def compare(
    snapshot: Annotated[str | None, typer.Option(help="Only results on this snapshot.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Table the results of experiments, best first, with 95 % intervals (accuracy on `valid`)."""
    from cifarops.flow.experiments import compare as table_results
    from cifarops.training.tracking import Tracker

    settings = Settings.from_environment()
    found = table_results(Tracker(settings.tracking_uri, runs=settings.runs), snapshot=snapshot)
    emit(
        [each.document() for each in found],
        as_json=as_json,
        human=table(
            "Experiments",
            ("experiment", "accuracy on valid", "images", "snapshot", "seconds", "run"),
            [each.row() for each in found],
        ),
    )
