"""Cut a release from develop, and bring it to main."""

from dataclasses import dataclass

from cifarops.errors import CifaropsError
from cifarops.flow.forge import Forge, MergeRequest, open_request
from cifarops.flow.freeze import freeze_now, freeze_steps, known_freeze, require_not_of_another
from cifarops.flow.git import Git
from cifarops.flow.history import changes, hotfixes, is_release_in_preparation
from cifarops.flow.line import Line
from cifarops.flow.numbering import upcoming
from cifarops.flow.policy import Policy
from cifarops.flow.ready import require_ready
from cifarops.flow.steps import Listener, Step, Taken, nobody, take
from cifarops.flow.version import changelog

_LABEL = "release"


@dataclass(frozen=True)
class Release:
    """A release on its way.

    Attributes:
        version: The number that it will get, as things are now.
        request: The merge request that brings it on, None in a dry run that would open one.
        missing: What must still happen before it can merge.
        steps: What was done.
    """

    version: str
    request: MergeRequest | None
    missing: tuple[str, ...]
    steps: tuple[Taken, ...]


def cut(
    git: Git, policy: Policy, forge: Forge, *, dry_run: bool = False, listener: Listener = nobody
) -> Release:
    """Freeze `develop` and open the merge request that brings it to `release`, with the changelog.

    Raises:
        CifaropsError: There is nothing to release, or the clone is not ready.
        ConflictError: Somebody else is cutting a release.
        UnavailableError: The remote does not answer.
    """
    line = Line.of(policy)
    require_ready(git, policy)
    develop, release = git.commit(f"origin/{line.develop}"), git.commit(f"origin/{line.release}")
    if git.is_ancestor(develop, release):
        raise CifaropsError(
            f"{line.develop} has nothing that {line.release} lacks.",
            fix="Bring the release to main: cifarops flow release finish. Or merge some work first.",
        )
    version = str(upcoming(git, policy, develop))
    mine = freeze_now(git, policy, reason=f"release {version} is being cut", release=version)
    require_not_of_another(known_freeze(git, line.develop), mine.by)
    steps = [
        *freeze_steps(git, forge, mine),
        _request_step(git, policy, forge, line.develop, line.release),
    ]
    taken = take(steps, dry_run=dry_run, listener=listener)
    request = open_request(forge, line.develop, line.release)
    missing = (*_absent(git, policy, line.develop), *_missing(policy, request, line.release))
    return Release(version, request, missing, taken)


def finish(
    git: Git, policy: Policy, forge: Forge, *, dry_run: bool = False, listener: Listener = nobody
) -> Release:
    """Open the merge request that brings `release` to `main`, and say what is missing before it can merge.

    Raises:
        CifaropsError: No release is in preparation, or the clone is not ready.
        UnavailableError: The remote does not answer.
    """
    line = Line.of(policy)
    require_ready(git, policy)
    if not is_release_in_preparation(git, line):
        raise CifaropsError(
            f"{line.main} has everything that {line.release} has: no release is in preparation.",
            fix="Cut one: cifarops flow release cut.",
        )
    version = str(upcoming(git, policy, git.commit(f"origin/{line.release}")))
    taken = take(
        [_request_step(git, policy, forge, line.release, line.main)], dry_run=dry_run, listener=listener
    )
    request = open_request(forge, line.release, line.main)
    missing = (*_absent(git, policy, line.release), *_missing(policy, request, line.main))
    return Release(version, request, missing, taken)


def _request_step(git: Git, policy: Policy, forge: Forge, source: str, target: str) -> Step:
    def open_it() -> None:
        git.fetch()  # what was merged before the freeze took hold belongs to it
        tip = git.commit(f"origin/{source}")
        told = changelog(changes(git, policy, tip, since=git.commit(f"origin/{target}")))
        title = f"Release {upcoming(git, policy, tip)}: {source} into {target}"
        forge.open(source, target, title=title, description=told, labels=[_LABEL])

    return Step(
        f"open a merge request of {source} into {target}",
        lambda: open_request(forge, source, target) is None,
        open_it,
    )


def _absent(git: Git, policy: Policy, branch: str) -> list[str]:
    """Return what to say of hotfixes that production has and a branch on its way there lacks."""
    return [
        f"{each.branch}, which {each.origin} has and {branch} lacks: cifarops flow backmerge"
        for each in hotfixes(git, policy)
        if each.is_merged and branch in each.missing
    ]


def _missing(policy: Policy, request: MergeRequest | None, target: str) -> tuple[str, ...]:
    if request is None:
        return ("the merge request",)
    short = policy.protected[target].approvals - request.approvals
    found = []
    if short > 0:
        found.append(f"{short} more approval{'s' if short > 1 else ''} by others than {request.author}")
    if request.conflicts:
        found.append(f"a solution of the conflicts in {', '.join(request.conflicts)}")
    found.append(f"a green pipeline: {', '.join(policy.protected[target].checks)}")
    return tuple(found)
