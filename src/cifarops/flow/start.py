"""Begin a piece of work: a branch of the right kind, from the right base, as the remote has it now."""

from dataclasses import dataclass
from pathlib import Path

from cifarops.errors import ConflictError, UsageError
from cifarops.files import write_atomic
from cifarops.flow.git import REMOTE_BRANCHES, Git
from cifarops.flow.policy import Policy
from cifarops.flow.ready import require_ready
from cifarops.flow.rules import parse_branch
from cifarops.flow.steps import Listener, Step, Taken, nobody, take

_TEMPLATE = """\
# {name}: what is tried, and what should become better by it.
# Laid over a profile of params.yaml: write only what differs. Every key: docs/reference/params.md.
# Train it:    cifarops train --experiment {name}
# Compare it:  cifarops flow compare
profile: {profile}
overrides:
  train: {{}}
"""


@dataclass(frozen=True)
class Started:
    """A branch to work on.

    Attributes:
        branch: Its name.
        base: The branch that it starts from.
        steps: What was done for it.
        next: What to do now.
    """

    branch: str
    base: str
    steps: tuple[Taken, ...]
    next: str


def start(
    git: Git,
    policy: Policy,
    kind: str,
    name: str,
    *,
    profile: str,
    dry_run: bool = False,
    listener: Listener = nobody,
) -> Started:
    """Make a work branch and switch to it; one that was begun here before is gone on with.

    Args:
        git: The clone.
        policy: The policy.
        kind: `feature`, `fix`, `experiment` or `hotfix`.
        name: What follows the slash.
        profile: Profile of params.yaml that an experiment starts from.
        dry_run: Only say what would be done.
        listener: Told of each step.

    Raises:
        UsageError: The kind or the name is none.
        CifaropsError: The clone is not ready.
        ConflictError: Somebody else has a branch of this name, or a protected branch has commits of its own here.
        UnavailableError: The remote does not answer.
    """
    if kind not in policy.work:
        raise UsageError(f"There is no kind of work {kind!r}.", fix=f"Take one of: {', '.join(policy.work)}.")
    branch = parse_branch(policy, f"{kind}/{name}").full
    require_ready(git, policy)
    base = policy.work[kind].origin
    is_here = git.find_commit(f"refs/heads/{branch}") is not None
    if not is_here and git.remote_branch(branch) is not None:
        raise ConflictError(
            f"The remote has a branch {branch} already.",
            fix=f"Work on it with whoever began it: git switch {branch}. Or take another name.",
        )
    if git.remote_branch(base) is None:
        raise UsageError(f"The remote has no branch {base}.", fix=f"Push it first: git push origin {base}.")
    steps = [
        Step(
            f"make {branch} from {base} of the remote",
            lambda: git.find_commit(f"refs/heads/{branch}") is None,
            lambda: git("branch", "--no-track", branch, f"{REMOTE_BRANCHES}{base}"),
        ),
        Step(f"switch to {branch}", lambda: git.current_branch() != branch, lambda: git("switch", branch)),
    ]
    required = policy.work[kind].requires
    if required is not None:
        file = git.root / required.format(name=name)
        steps.append(
            Step(
                f"write {file.relative_to(git.root)}",
                lambda: not file.exists(),
                lambda: write_atomic(file, _TEMPLATE.format(name=name, profile=profile).encode()),
            )
        )
    taken = take(steps, dry_run=dry_run, listener=listener)
    return Started(branch, base, taken, _next_words(branch, required, policy.work[kind].into[0]))


def _next_words(branch: str, required: str | None, target: str) -> str:
    edit = f"Edit {required.format(name=Path(branch).name)}, c" if required else "C"
    finish = (
        "cifarops flow hotfix finish"
        if branch.startswith("hotfix/")
        else f"git push -o merge_request.create -o merge_request.target={target} -u origin {branch}"
    )
    return f"{edit}ommit ('feat: …'; 'run tests' runs the unit tests), then: {finish}"
