"""The code release of a commit: built once on develop, found again by every commit that brings the same files on."""

from collections.abc import Iterator
from pathlib import Path

from cifarops.deployment.code import CodeRelease, build_code, find_code
from cifarops.errors import UsageError
from cifarops.flow.git import Git


def built(git: Git, *, releases: Path) -> CodeRelease:
    """Return the code release of the checked-out commit; built now where no commit with the same files was.

    A merge that changes nothing in what it merges brings on what was built before: develop's release is the one on
    staging and in production. A merge that does change something is new code, and built.

    Args:
        git: The clone.
        releases: Directory of code releases.

    Raises:
        UsageError: The work tree has changes that no commit holds.
        IntegrityError: The release is there and damaged.
    """
    for commit in _same_files(git, git.commit()):
        try:
            return find_code(releases, commit=commit)
        except UsageError:
            continue
    return build_code(git.root, releases=releases)


def _same_files(git: Git, commit: str | None) -> Iterator[str]:
    """Yield a commit and those that were merged to make it, as long as they have the same files."""
    tree = git("rev-parse", f"{commit}^{{tree}}")
    while commit:
        yield commit
        parents = git("rev-list", "--parents", "--max-count=1", commit).split()[1:]
        same = (each for each in reversed(parents) if git("rev-parse", f"{each}^{{tree}}") == tree)
        commit = next(same, None)
