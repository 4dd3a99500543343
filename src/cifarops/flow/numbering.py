"""Which version a commit will be released as."""

from dataclasses import dataclass

from cifarops.flow.git import Git
from cifarops.flow.history import changes, last_release, only_hotfixes, released_in
from cifarops.flow.policy import Policy
from cifarops.flow.ready import require_history
from cifarops.flow.version import Version, changelog, next_version


@dataclass(frozen=True)
class Forecast:
    """What will be released.

    Attributes:
        version: The newest release that is out; None before the first.
        next: The number that comes next; of a commit that is released already, its own.
        notes: What it brings, Markdown.
    """

    version: str | None
    next: str
    notes: str


def forecast(git: Git, policy: Policy, revision: str) -> Forecast:
    """Say what the release of a revision would be; fetches first.

    Raises:
        UsageError: There is no such revision.
        CifaropsError: The clone is shallow.
        UnavailableError: The remote does not answer.
    """
    require_history(git)
    git.fetch()
    commit = git.commit(revision)
    last = last_release(git, policy, commit)
    number = upcoming(git, policy, commit)
    told = changes(git, policy, commit, since=last[1] if last else None)
    return Forecast(
        version=str(last[0]) if last else None, next=str(number), notes=changelog(told, title=str(number))
    )


def upcoming(git: Git, policy: Policy, commit: str) -> Version:
    """Return the version that `commit` is released as, as last fetched: the one it went out with, or else the next.

    A job that is repeated after the release, on staging or in production, pins the same number.
    """
    own = released_in(git, policy, commit)
    if own is not None:
        return own
    last = last_release(git, policy, commit)
    if last is None:
        return next_version(None, [], only_hotfixes=False)
    version, since = last
    return next_version(
        version,
        changes(git, policy, commit, since=since),
        only_hotfixes=only_hotfixes(git, policy, commit, since=since),
    )
