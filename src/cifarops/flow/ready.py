"""Is a clone in a state from which a command may begin? If not, what to do about it."""

from cifarops.errors import CifaropsError, ConflictError
from cifarops.flow.git import REMOTE, Git
from cifarops.flow.policy import Policy
from cifarops.flow.words import counted


def require_history(git: Git) -> None:
    """Go on only if no older commits were left out of the clone.

    Raises:
        CifaropsError: It is a shallow clone.
    """
    if git.is_shallow():
        raise CifaropsError(
            "This is a shallow clone: what was merged where can't be seen in it.",
            fix="Fetch the rest: git fetch --unshallow (in a pipeline: GIT_DEPTH: 0).",
        )


def require_ready(git: Git, policy: Policy) -> str:
    """Return the current branch, if a person's clone is ready for a step of the process; fetches first.

    Raises:
        CifaropsError: HEAD is detached, files are changed, or the clone is shallow.
        ConflictError: A protected branch here has commits that the remote lacks.
        UnavailableError: The remote does not answer.
    """
    require_history(git)
    branch = git.current_branch()
    if branch is None:
        raise CifaropsError(
            f"HEAD is detached at {git('rev-parse', '--short', 'HEAD')}, on no branch.",
            fix=f"Go to a branch: git switch {policy.freeze.branch} (or keep this: git switch -c feature/<name>).",
        )
    if git.is_dirty():
        raise CifaropsError(
            f"{branch} has changes that are not committed.",
            fix="Commit them, or put them aside: git stash.",
        )
    git.fetch()
    for protected in policy.protected:
        _require_nothing_own(git, protected)
    return branch


def _require_nothing_own(git: Git, branch: str) -> None:
    ours, theirs = git.find_commit(f"refs/heads/{branch}"), git.remote_branch(branch)
    if ours is None or theirs is None or git.is_ancestor(ours, theirs):
        return
    count = int(git("rev-list", "--count", f"{theirs}..{ours}"))
    raise ConflictError(
        f"Your {branch} has {counted(count, 'commit')} that the remote lacks, and it changes by merge requests only.",
        fix=f"Keep them on a branch of their own: git branch feature/<name> {branch} && git switch {branch} &&"
        f" git reset --keep {REMOTE}/{branch}",
    )
