"""Where am I, what may I do next, what is frozen, which hotfix is not everywhere yet."""

from dataclasses import dataclass
from datetime import UTC, datetime

from cifarops.errors import UsageError
from cifarops.flow.forge import Forge, MergeRequest
from cifarops.flow.freeze import Freeze, known_freeze
from cifarops.flow.git import Git
from cifarops.flow.history import (
    Hotfix,
    hotfixes,
    is_ahead,
    is_release_in_preparation,
    releases,
    version_tags,
)
from cifarops.flow.line import Line
from cifarops.flow.policy import Policy
from cifarops.flow.ready import require_history
from cifarops.flow.rules import Branch, parse_branch
from cifarops.flow.words import counted


@dataclass(frozen=True)
class FreezeReport:
    """A freeze that is in force.

    Attributes:
        by: Who froze it.
        branch: What is frozen.
        since: When, in UTC.
        hours: How long ago, in hours.
        reason: Why.
        stale: It is so old that it was probably forgotten.
        lift: The command that lifts it.
    """

    by: str
    branch: str
    since: datetime
    hours: float
    reason: str
    stale: bool
    lift: str

    def __str__(self) -> str:
        forgotten = f"\nforgotten? Lift it: {self.lift}" if self.stale else ""
        return f"{self.branch}, by {self.by} since {self.since:%Y-%m-%d %H:%M} UTC ({self.hours:g} h): {self.reason}{forgotten}"


@dataclass(frozen=True)
class Status:
    """How things stand.

    Attributes:
        branch: The current branch; None when HEAD is detached.
        is_valid: Whether the policy knows such a branch.
        dirty: Whether files are changed.
        ahead: Commits here that the remote's branch of this name lacks; None where it has no such branch.
        behind: Commits there that are lacking here.
        version: The newest release, or None.
        stray_tags: Tags that have a release's name and mark what `main` has never been.
        release_in_preparation: Whether `release` has something that `main` lacks.
        freeze: The freeze that is in force, or None.
        hotfixes: Hotfixes that are not everywhere yet.
        requests: Open merge requests; None where nobody could be asked.
        next: What may be done now, the likeliest first.
    """

    branch: str | None
    is_valid: bool
    dirty: bool
    ahead: int | None
    behind: int | None
    version: str | None
    stray_tags: tuple[str, ...]
    release_in_preparation: bool
    freeze: FreezeReport | None
    hotfixes: tuple[Hotfix, ...]
    requests: tuple[MergeRequest, ...] | None
    next: tuple[str, ...]

    def facts(self) -> dict[str, str | None]:
        """Return it for people."""
        frozen = self.freeze
        return {
            "branch": f"{self.branch or 'none: HEAD is detached'}{'' if self.is_valid else ' (no valid name)'}",
            "against the remote": (
                None if self.ahead is None else f"{counted(self.ahead, 'commit')} ahead, {self.behind} behind"
            ),
            "changed files": "yes" if self.dirty else "no",
            "newest release": self.version,
            **({"no releases": f"{', '.join(self.stray_tags)}: made by hand"} if self.stray_tags else {}),
            "release in preparation": "yes" if self.release_in_preparation else "no",
            "freeze": str(frozen) if frozen else "none",
            "hotfixes under way": "\n".join(map(str, self.hotfixes)) or "none",
            "merge requests": (
                "not asked for" if self.requests is None else "\n".join(map(_line, self.requests)) or "none"
            ),
            "next": "\n".join(self.next),
        }


def status(git: Git, policy: Policy, forge: Forge | None, *, now: datetime | None = None) -> Status:
    """Look at the clone and the remote.

    Args:
        git: The clone.
        policy: The policy.
        forge: What holds the remote; None where its merge requests can't be asked for.
        now: By which the age of a freeze is told; by default the present.

    Raises:
        CifaropsError: The clone is shallow.
        UnavailableError: The remote does not answer.
    """
    require_history(git)
    git.fetch()
    line = Line.of(policy)
    name = git.current_branch()
    branch = _parse(policy, name)
    ahead, behind = _distance(git, name)
    known = list(releases(git, policy))
    strays = [each.tag for each in version_tags(git, policy) if each not in known]
    standing = known_freeze(git, line.develop)
    prepared = is_release_in_preparation(git, line)
    dirty = git.is_dirty()
    open_hotfixes = tuple(each for each in hotfixes(git, policy) if not each.is_done)
    return Status(
        branch=name,
        is_valid=branch is not None,
        dirty=dirty,
        ahead=ahead,
        behind=behind,
        version=str(known[-1]) if known else None,
        stray_tags=tuple(strays),
        release_in_preparation=prepared,
        freeze=_report(policy, standing, now or datetime.now(UTC)) if standing else None,
        hotfixes=open_hotfixes,
        requests=tuple(forge.merge_requests(state="open")) if forge else None,
        next=(
            *_about_hotfixes(open_hotfixes),
            *_about_strays(strays),
            *_about_branch(policy, line, name, branch, dirty, ahead, frozen=standing is not None),
            *(["cifarops flow release finish"] if prepared else []),
            *(["cifarops flow release cut"] if not standing and not prepared and is_ahead(git, line) else []),
        ),
    )


def _parse(policy: Policy, name: str | None) -> Branch | None:
    try:
        return parse_branch(policy, name) if name else None
    except UsageError:
        return None


def _distance(git: Git, name: str | None) -> tuple[int | None, int | None]:
    theirs = git.remote_branch(name) if name else None
    if theirs is None or git.find_commit("HEAD") is None:
        return None, None
    ahead, behind = git("rev-list", "--left-right", "--count", f"HEAD...{theirs}").split()
    return int(ahead), int(behind)


def _report(policy: Policy, standing: Freeze, now: datetime) -> FreezeReport:
    return FreezeReport(
        by=standing.by,
        branch=standing.branch,
        since=standing.since,
        hours=round(standing.age(now).total_seconds() / 3600, 1),
        reason=standing.reason,
        stale=standing.is_stale(now, after_hours=policy.freeze.stale_after_hours),
        lift="cifarops flow unfreeze",
    )


def _about_hotfixes(open_hotfixes: tuple[Hotfix, ...]) -> list[str]:
    forgotten = [each for each in open_hotfixes if each.is_merged]
    return ["cifarops flow backmerge"] if forgotten else []


def _about_strays(strays: list[str]) -> list[str]:
    return [f"delete on the server, where they are a mistake: {', '.join(strays)}"] if strays else []


def _about_branch(
    policy: Policy,
    line: Line,
    name: str | None,
    branch: Branch | None,
    dirty: bool,
    ahead: int | None,
    *,
    frozen: bool,
) -> list[str]:
    if name is None:
        return [f"git switch {line.develop}"]
    if branch is None:
        return [f"cifarops flow check branch {name}"]
    if branch.kind in policy.protected:
        return [f"cifarops flow start {'|'.join(policy.work)} <name>"]
    if dirty:
        return ["git commit"]
    if branch.kind == line.urgent:
        return ["cifarops flow hotfix finish"]
    target = policy.work[branch.kind].into[0]
    if ahead == 0:
        lifted = f", and {target} is no longer frozen" if frozen and target == line.develop else ""
        return [f"merge {branch.full} into {target} once its merge request is approved and green{lifted}"]
    return [
        f"git push -o merge_request.create -o merge_request.target={target} -u origin {branch.full}",
    ]


def _line(request: MergeRequest) -> str:
    conflicts = f", in conflict: {', '.join(request.conflicts)}" if request.conflicts else ""
    return (
        f"!{request.number} {request.source} into {request.target},"
        f" {counted(request.approvals, 'approval')}{conflicts}"
    )
