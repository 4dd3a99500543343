"""`cifarops flow gitlab`: the policy as a GitLab project's settings."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, group, notes, table
from cifarops.settings import Settings

if TYPE_CHECKING:
    from cifarops.flow.gitlab.client import Client
    from cifarops.flow.gitlab.plan import Change, Plan

app = group("Compare a GitLab project with policy.yaml, and bring it there.")

PolicyFile = Annotated[Path, typer.Option("--policy", help="The policy file.")]
POLICY = Path("policy.yaml")


@app.command()
def plan(
    policy: PolicyFile = POLICY,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when something differs.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show what differs between the project's settings and the policy; change nothing."""
    from cifarops.flow.gitlab.plan import make_plan
    from cifarops.flow.policy import load_policy

    found = make_plan(_client(), load_policy(policy))
    emit(found.document(), as_json=as_json, human=_changes("To be done", found.changes))
    _tell(found)
    if check and found.changes:
        notes.print("The project differs from the policy; bring it there: cifarops flow gitlab apply")
        raise typer.Exit(1)


@app.command()
def apply(policy: PolicyFile = POLICY, as_json: JsonFlag = False) -> None:
    """Bring the project's settings to what the policy says; the same again does nothing."""
    from dataclasses import asdict

    from cifarops.flow.gitlab import plan as planning
    from cifarops.flow.policy import load_policy

    applied = planning.apply(_client(), load_policy(policy))
    emit(asdict(applied), as_json=as_json, human=_changes("Done", applied.changes))
    _tell(applied.remaining)
    if applied.remaining.changes:
        notes.print(
            "GitLab did not keep all of it; a group's or the server's own settings stand above the project's."
        )
        notes.print(_changes("Still to be done", applied.remaining.changes))
        raise typer.Exit(1)


@app.command()
def files(
    policy: PolicyFile = POLICY,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 when a file differs.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write the code owners and the merge request templates that the policy gives."""
    from cifarops.flow.gitlab.files import differing_files, write_files
    from cifarops.flow.policy import load_policy

    found = (differing_files if check else write_files)(load_policy(policy), Path())
    names = [str(path) for path in found]
    did = "Differ" if check else "Wrote"
    emit({"differing": names}, as_json=as_json, human=f"{did}: {', '.join(names) or 'none'}")
    if check and found:
        raise typer.Exit(1)


@app.command()
def approved(
    number: Annotated[int, typer.Argument(help="The merge request, for example $CI_MERGE_REQUEST_IID.")],
    policy: PolicyFile = POLICY,
    as_json: JsonFlag = False,
) -> None:
    """Refuse a merge request that has fewer approvals than its target asks for, as Premium does by itself."""
    from dataclasses import asdict

    from cifarops.flow.git import Git
    from cifarops.flow.gitlab.approvals import check_approvals
    from cifarops.flow.gitlab.forge import connect
    from cifarops.flow.policy import load_policy

    rules = load_policy(policy)
    forge = connect(Git.find(Path.cwd()), rules, Settings.from_environment())
    found = check_approvals(forge, rules, number)
    emit(
        asdict(found),
        as_json=as_json,
        human=f"!{found.number} has {found.approvals} approval(s), which suffices.",
    )


def _client() -> "Client":
    from cifarops.flow.git import Git
    from cifarops.flow.gitlab.access import find_access
    from cifarops.flow.gitlab.client import Client

    return Client(find_access(Settings.from_environment().gitlab, Git.find(Path.cwd()).remote_url()))


def _changes(title: str, changes: "tuple[Change, ...]") -> object:
    if not changes:
        return f"{title}: nothing."
    rows = [row for change in changes for row in change.rows()]
    return table(title, ("what", "field", "found", "wanted"), rows)


def _tell(plan: "Plan") -> None:
    if plan.frozen:
        notes.print(f"{plan.frozen} is frozen and stays locked.")
    for gap in plan.gaps:
        notes.print(
            f"This server lacks {gap.feature}: it {gap.lost} ({', '.join(gap.promises)}). Instead, {gap.stand_in}.",
            markup=False,
        )
    for note in plan.notes:
        notes.print(f"note: {note}", markup=False)
