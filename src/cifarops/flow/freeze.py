"""The freeze of a branch: an annotated tag on the remote, so that every clone and every server can see it.

Creating a tag is atomic: of two people who freeze at once, one wins and the other is told who. The tag's message is JSON.
"""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from cifarops.errors import ConflictError, IntegrityError
from cifarops.flow.forge import Forge
from cifarops.flow.git import REMOTE, REMOTE_BRANCHES, REMOTE_TAGS, Git
from cifarops.flow.history import is_ahead
from cifarops.flow.line import Line
from cifarops.flow.policy import Policy
from cifarops.flow.steps import Listener, Step, Taken, nobody, take

_PREFIX = "freeze/"


@dataclass(frozen=True)
class Freeze:
    """Who froze what.

    Attributes:
        branch: The branch that nothing may merge into.
        by: Who froze it, `Name <address>`.
        since: When, in UTC.
        reason: Why, in one line.
        release: The version being prepared, without the `v`, or "".
    """

    branch: str
    by: str
    since: datetime
    reason: str
    release: str

    def age(self, now: datetime) -> timedelta:
        """Return how long it has lasted."""
        return now - self.since

    def is_stale(self, now: datetime, *, after_hours: float) -> bool:
        """Return whether it is so old that it was probably forgotten."""
        return self.age(now) > timedelta(hours=after_hours)

    def __str__(self) -> str:
        why = f": {self.reason}" if self.reason else ""
        return f"{self.branch} is frozen by {self.by} since {self.since:%Y-%m-%d %H:%M} UTC{why}"


def freeze(
    git: Git,
    policy: Policy,
    forge: Forge,
    *,
    reason: str,
    dry_run: bool = False,
    listener: Listener = nobody,
) -> tuple[Taken, ...]:
    """Let nothing merge into `develop`; again by the same person, it changes nothing.

    Args:
        git: The clone.
        policy: The policy.
        forge: What holds the remote.
        reason: Why, in one line.
        dry_run: Only say what would be done.
        listener: Told of each step.

    Raises:
        ConflictError: Somebody else froze it.
        UnavailableError: The remote does not answer.
    """
    git.fetch()
    mine = freeze_now(git, policy, reason=reason, release="")
    require_not_of_another(known_freeze(git, mine.branch), mine.by)
    return take(freeze_steps(git, forge, mine), dry_run=dry_run, listener=listener)


def unfreeze(
    git: Git,
    policy: Policy,
    forge: Forge,
    *,
    if_merged: bool = False,
    dry_run: bool = False,
    listener: Listener = nobody,
) -> tuple[Taken, ...]:
    """Let things merge into `develop` again; with no freeze, it changes nothing.

    The lock goes first and the tag, which everybody can see, last: what dies in between is still told by `flow status`.

    Args:
        git: The clone.
        policy: The policy.
        forge: What holds the remote.
        if_merged: Keep a freeze while `release` lacks some of `develop`: a hotfix may get there before the cut does.
        dry_run: Only say what would be done.
        listener: Told of each step.

    Raises:
        UnavailableError: The remote does not answer.
    """
    line = Line.of(policy)
    branch = line.develop
    git.fetch()
    if if_merged and _is_marked(git, branch) and is_ahead(git, line):
        kept = Taken(f"keep {branch} frozen: {line.release} lacks some of it", "already")
        listener(kept.what, kept.outcome)
        return (kept,)
    steps = [
        Step(f"unlock {branch}", lambda: True, lambda: forge.unlock(branch)),
        Step(
            f"lift the freeze of {branch}",
            lambda: _is_marked(git, branch),  # by whomever, and whether or not it can be read
            lambda: forge.delete_tag(_PREFIX + branch),
        ),
    ]
    return take(steps, dry_run=dry_run, listener=listener)


def freeze_now(git: Git, policy: Policy, *, reason: str, release: str) -> Freeze:
    """Return the freeze that whoever commits here would put now."""
    since = datetime.now(UTC).replace(microsecond=0)
    return Freeze(policy.freeze.branch, git.person(), since, reason, release)


def freeze_steps(git: Git, forge: Forge, freeze: Freeze) -> list[Step]:
    """Return the steps that freeze a branch: the tag, which everybody can see, first."""
    return [
        Step(
            f"freeze {freeze.branch}",
            lambda: known_freeze(git, freeze.branch) is None,
            lambda: put_freeze(git, forge, freeze),
        ),
        Step(f"lock {freeze.branch}", lambda: True, lambda: forge.lock(freeze.branch)),
    ]


def require_not_of_another(standing: Freeze | None, person: str) -> None:
    """Go on unless somebody else froze the branch.

    Raises:
        ConflictError: Somebody did; says who.
    """
    if standing is not None and standing.by != person:
        raise ConflictError(
            f"{standing}.", fix=f"Agree with {standing.by}; if it was forgotten: cifarops flow unfreeze."
        )


def fetch_freeze(git: Git, branch: str) -> Freeze | None:
    """Ask the remote whether a branch is frozen, and by whom.

    Raises:
        UnavailableError: The remote does not answer.
        IntegrityError: The tag is there and is none of ours.
    """
    wanted = f"refs/tags/{_PREFIX}*:{REMOTE_TAGS}{_PREFIX}*"
    git("fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head", REMOTE, f"+{wanted}")
    return known_freeze(git, branch)


def known_freeze(git: Git, branch: str, *, tags: str = REMOTE_TAGS) -> Freeze | None:
    """Return the freeze of a branch as last fetched.

    Args:
        git: The repository.
        branch: The branch.
        tags: Where tags lie; `refs/tags/` in the remote itself.

    Raises:
        IntegrityError: The tag is there and is none of ours.
    """
    if not _is_marked(git, branch, tags):
        return None
    try:
        return _parse(git.run("cat-file", "tag", f"{tags}{_PREFIX}{branch}").stdout.partition("\n\n")[2])
    except (ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"The tag {_PREFIX}{branch} of the remote was not written by cifarops: {error!r}.",
            fix=f"Find out who made it (git ls-remote --tags {REMOTE}), then lift it: cifarops flow unfreeze.",
        ) from error


def put_freeze(git: Git, forge: Forge, freeze: Freeze) -> Freeze:
    """Freeze a branch on the remote; the same person's freeze that stands already is returned as it is.

    Raises:
        ConflictError: Someone else froze it first.
        UnavailableError: The remote does not answer.
        GitError: The remote refuses the tag.
    """
    body = json.dumps({**asdict(freeze), "since": freeze.since.isoformat()}, sort_keys=True)
    try:
        forge.create_tag(_PREFIX + freeze.branch, git.commit(REMOTE_BRANCHES + freeze.branch), body)
    except ConflictError:
        standing = fetch_freeze(git, freeze.branch)
        if standing is None:
            raise
        require_not_of_another(standing, freeze.by)
        return standing
    return freeze


def _is_marked(git: Git, branch: str, tags: str = REMOTE_TAGS) -> bool:
    return git.find_commit(f"{tags}{_PREFIX}{branch}") is not None


def _parse(body: str) -> Freeze:
    fields = json.loads(body)
    since = datetime.fromisoformat(fields["since"]).astimezone(UTC)
    return Freeze(fields["branch"], fields["by"], since, fields["reason"], fields["release"])
