"""How far a hotfix has got: in which branch it is, in which it is waited for, and what stands in its way."""

import shlex
from dataclasses import dataclass
from typing import Literal

from cifarops.flow.forge import Forge, MergeRequest, open_request
from cifarops.flow.git import REMOTE, Git
from cifarops.flow.history import Hotfix
from cifarops.flow.steps import Taken

Stage = Literal["merged", "open", "missing", "waiting"]


@dataclass(frozen=True)
class Whereabouts:
    """How far a hotfix has got with one branch.

    Attributes:
        target: The branch.
        stage: `merged`; `open`: a merge request is; `missing`: none is; `waiting` until the hotfix is in `main`.
        request: The merge request that is open.
        conflicts: Files that would be in conflict.
        recipe: Commands that resolve the conflict, one a line; empty where there is none.
    """

    target: str
    stage: Stage
    request: MergeRequest | None
    conflicts: tuple[str, ...]
    recipe: str

    def __str__(self) -> str:
        where = f"  {self.target}: {self.stage}"
        if self.request:
            where += f" !{self.request.number} {self.request.url}"
        if self.conflicts:
            where += f", in conflict: {', '.join(self.conflicts)}"
        return where + "".join(f"\n      {line}" for line in self.recipe.splitlines())


@dataclass(frozen=True)
class Progress:
    """How far a hotfix has got.

    Attributes:
        branch: `hotfix/NAME`.
        done: It is everywhere.
        targets: Each branch that must have it.
        steps: What was done.
    """

    branch: str
    done: bool
    targets: tuple[Whereabouts, ...]
    steps: tuple[Taken, ...]

    def __str__(self) -> str:
        state = "done: it is everywhere" if self.done else "not done yet"
        return "\n".join([f"{self.branch} is {state}", *map(str, self.targets)])


def progress_of(git: Git, forge: Forge, hotfix: Hotfix, taken: tuple[Taken, ...]) -> Progress:
    """Return how far a hotfix has got, with the steps that were just taken for it."""
    targets = tuple(_whereabouts(git, forge, hotfix, target) for target in (hotfix.origin, *hotfix.targets))
    return Progress(hotfix.branch, hotfix.is_done, targets, taken)


def _whereabouts(git: Git, forge: Forge, hotfix: Hotfix, target: str) -> Whereabouts:
    if is_in(git, hotfix.commit, target):
        return Whereabouts(target, "merged", None, (), "")
    resolving = open_request(forge, f"{hotfix.branch}-into-{target}", target)
    request = resolving or open_request(forge, hotfix.branch, target)
    waits = target != hotfix.origin and not hotfix.is_merged
    stage: Stage = "open" if request else "waiting" if waits else "missing"
    files = () if resolving else git.conflicts(f"{REMOTE}/{target}", hotfix.commit)
    recipe = recipe_for(hotfix, target, files) if files and target != hotfix.origin else ""
    return Whereabouts(target, stage, request, files, recipe)


def recipe_for(hotfix: Hotfix, target: str, files: tuple[str, ...]) -> str:
    """Return the commands that resolve a conflict of a hotfix, one a line."""
    branch = f"{hotfix.branch}-into-{target}"
    return "\n".join(
        [
            f"git fetch {REMOTE}",
            f"git switch --no-track -c {branch} {REMOTE}/{hotfix.branch}",
            f"git merge {REMOTE}/{target}",
            f"# resolve {', '.join(files)}, then:",
            f"git add {shlex.join(files)} && git commit --no-edit",
            "cifarops flow hotfix finish",
        ]
    )


def is_in(git: Git, commit: str, target: str) -> bool:
    """Return whether the remote's branch has a commit, as last fetched."""
    return git.is_ancestor(commit, f"{REMOTE}/{target}")
