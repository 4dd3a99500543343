"""What the commands of `cifarops flow` share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarops.cli.common import emit, facts, notes
from cifarops.settings import Settings

if TYPE_CHECKING:
    from cifarops.flow.forge import Forge
    from cifarops.flow.git import Git
    from cifarops.flow.policy import Policy
    from cifarops.flow.release import Release
    from cifarops.flow.steps import Outcome

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]
_MARKS = {"done": "done   ", "already": "already", "would": "would  "}


def open_clone() -> "tuple[Git, Policy]":
    """Open the clone around the current directory, with its policy."""
    from cifarops.flow.git import Git
    from cifarops.flow.policy import POLICY, load_policy

    git = Git.find(Path.cwd())
    return git, load_policy(git.root / POLICY)


def open_flow() -> "tuple[Git, Policy, Forge]":
    """Open the clone around the current directory, its policy, and the forge that holds its remote."""
    from cifarops.flow.forge import find_forge

    git, policy = open_clone()
    return git, policy, find_forge(git, policy, Settings.from_environment())


def tell_step(what: str, outcome: "Outcome") -> None:
    """Say on stderr what became of a step."""
    notes.print(f"  {_MARKS[outcome]}  {what}", highlight=False, markup=False)


def show_release(release: "Release", document: dict[str, Any], as_json: bool) -> None:
    """Print a release on its way."""
    request = release.request
    emit(
        document,
        as_json=as_json,
        human=facts(
            f"Release {release.version}",
            {
                "merge request": f"!{request.number} {request.url}" if request else None,
                "still missing": "\n".join(release.missing),
            },
        ),
    )
