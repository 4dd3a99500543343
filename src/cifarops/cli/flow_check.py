"""`cifarops flow check`: what hooks and the pipeline ask of the policy."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, group
from cifarops.errors import CifaropsError

app = group("Hold a branch, a message, files, a push or a merge against the policy.")

Name = Annotated[str | None, typer.Argument(help="The branch; by default the current one.")]


@app.command()
def branch(name: Name = None, as_json: JsonFlag = False) -> None:
    """Refuse a branch name of no known form; say which is right."""
    from cifarops.flow.checks import current_branch
    from cifarops.flow.git import Git
    from cifarops.flow.policy import POLICY, load_policy
    from cifarops.flow.rules import parse_branch

    git = Git.find(Path.cwd())
    found = parse_branch(load_policy(git.root / POLICY), name or current_branch(git))
    emit(asdict(found), as_json=as_json)


@app.command()
def commit(
    message: Annotated[
        Path | None, typer.Argument(help="The file with its message, as git gives it to its hook.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Refuse a commit on a protected branch, on one with an invalid name, or on none.

    With a message, refuse that, too, if it is neither conventional nor exactly `run tests`.
    """
    from cifarops.flow.checks import check_commit, check_message_file
    from cifarops.flow.git import Git
    from cifarops.flow.policy import POLICY, load_policy

    git = Git.find(Path.cwd())
    policy = load_policy(git.root / POLICY)
    found = check_commit(git, policy)
    kind = None if message is None else check_message_file(git, policy, message)
    emit({**asdict(found), "message": kind}, as_json=as_json)


@app.command()
def files(
    paths: Annotated[list[Path], typer.Argument(help="The files.")],
    as_json: JsonFlag = False,
) -> None:
    """Refuse large files, secrets and notebooks with outputs."""
    from cifarops.flow.scan import scan

    found = scan(paths)
    emit([asdict(each) for each in found], as_json=as_json, human="\n".join(map(str, found)) or None)
    if found:
        raise typer.Exit(1)


@app.command()
def push() -> None:
    """Refuse a push that the policy refuses (as a pre-push hook: what is pushed stands on stdin).

    When the newest message of a pushed branch is exactly `run tests`, its unit tests run first.
    """
    from cifarops.flow.checks import check_push
    from cifarops.flow.git import Git
    from cifarops.flow.policy import POLICY, load_policy
    from cifarops.flow.unit_tests import run_requested_tests

    git = Git.find(Path.cwd())
    policy = load_policy(git.root / POLICY)
    run_requested_tests(git, policy, check_push(policy, sys.stdin))


@app.command()
def merge(
    source: Annotated[str, typer.Argument(help="The branch with the change.")],
    target: Annotated[str, typer.Argument(help="The branch it is to be merged into.")],
    as_json: JsonFlag = False,
) -> None:
    """Refuse a merge that the policy refuses: names, freeze, where it started, what it must carry."""
    from cifarops.flow.checks import check_merge, fetch_all, policy_of
    from cifarops.flow.git import Git

    git = Git.find(Path.cwd())
    fetch_all(git)
    answer = check_merge(git, policy_of(git, target), source, target)
    if not answer.allowed:
        raise CifaropsError(answer.reason, fix=answer.instead)
    emit(asdict(answer), as_json=as_json, human=answer.reason)
