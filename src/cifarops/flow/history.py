"""What Git's history says of the process: which hotfix is where, which releases there were, what changed between two."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from cifarops.errors import UsageError
from cifarops.flow.git import Git
from cifarops.flow.line import Line
from cifarops.flow.policy import Policy
from cifarops.flow.rules import Branch, parse_branch
from cifarops.flow.version import Change, Version, parse_change

_MERGED = re.compile(r"Merge branch '([^']+)'")
_MERGES_READ = 200  # of `main`; a hotfix that is older is not looked for


@dataclass(frozen=True)
class Hotfix:
    """A hotfix branch, there still or merged.

    Attributes:
        branch: `hotfix/NAME`.
        commit: Its newest commit.
        on_remote: Whether the branch is still there.
        origin: Where hotfixes start from and go first.
        is_merged: Whether `origin` has it.
        targets: The other branches that must have it.
        missing: Those of them that lack it.
    """

    branch: str
    commit: str
    on_remote: bool
    origin: str
    is_merged: bool
    targets: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        """Whether it is everywhere."""
        return self.is_merged and not self.missing

    def __str__(self) -> str:
        lacking = self.missing if self.is_merged else (self.origin, *self.missing)
        return f"{self.branch} is missing in {', '.join(lacking)}"


def is_release_in_preparation(git: Git, line: Line) -> bool:
    """Return whether `release` has commits that `main` lacks, as last fetched."""
    return _has_more(git, line.release, line.main)


def is_ahead(git: Git, line: Line) -> bool:
    """Return whether `develop` has commits that `release` lacks, as last fetched: something to cut a release of."""
    return _has_more(git, line.develop, line.release)


def hotfixes(git: Git, policy: Policy) -> list[Hotfix]:
    """Return the hotfixes that have a branch on the remote or were merged into `main`, as last fetched."""
    line = Line.of(policy)
    kind = line.urgent
    found = {name: tip for name, tip in git.remote_branches(kind).items() if _is_itself(policy, name)}
    here = set(found)
    for branch, tip in _merged_into(git, policy, line.main):
        if branch.kind == kind and branch.resolves is None:
            found.setdefault(branch.full, tip)
    return locate(git, policy, found, on_remote=here)


def locate(git: Git, policy: Policy, tips: Mapping[str, str], *, on_remote: Collection[str]) -> list[Hotfix]:
    """Return where hotfixes are, as last fetched, by few questions however many there are.

    Args:
        git: The clone.
        policy: The policy.
        tips: Newest commit of each hotfix by branch.
        on_remote: Those whose branch is on the remote.
    """
    line = Line.of(policy)
    targets = tuple(
        target
        for target in policy.work[line.urgent].merged_back
        if target != line.release or is_release_in_preparation(git, line)
    )
    commits = set(tips.values())
    lacking = {branch: _lacking(git, branch, commits) for branch in (line.main, *targets)}
    # A branch with no commit yet ends on main's own line; what was merged never does.
    outside = lacking[line.main] | (commits & _own_line(git, line.main))
    return [
        Hotfix(
            branch=name,
            commit=tip,
            on_remote=name in on_remote,
            origin=line.main,
            is_merged=tip not in outside,
            targets=targets,
            missing=tuple(target for target in targets if tip in lacking[target]),
        )
        for name, tip in sorted(tips.items())
    ]


def releases(git: Git, policy: Policy) -> dict[Version, str]:
    """Return the commits of all releases as last fetched, the newest version last.

    A tag that marks what `main` has never been is none, however it is called: somebody made it by hand.
    """
    line = _own_line(git, Line.of(policy).main)
    return {version: at for version, at in version_tags(git, policy).items() if at in line}


def version_tags(git: Git, policy: Policy) -> dict[Version, str]:
    """Return the commits of all tags that have a release's name, as last fetched, the newest version last."""
    found = {}
    for tag, commit in git.remote_tags().items():
        version = Version.parse(tag.removeprefix("v"))
        if version is not None and fnmatchcase(tag, policy.tags.release):
            found[version] = commit
    return dict(sorted(found.items()))


def released_in(git: Git, policy: Policy, commit: str) -> Version | None:
    """Return the release that a commit went out with, as last fetched; None where it has not gone out.

    On `main`'s own line that is its own release alone: what production ran in between has no number.
    """
    known = releases(git, policy)
    if is_on_line(git, Line.of(policy).main, commit):
        return next((version for version, at in known.items() if at == commit), None)
    return next((version for version, at in known.items() if git.is_ancestor(commit, at)), None)


def last_release(git: Git, policy: Policy, commit: str) -> tuple[Version, str] | None:
    """Return the release that `commit` comes after, and that release's commit; None before the first.

    On `main`'s own line it is the newest that `commit` contains; elsewhere the newest of all, which the tags on `main`'s
    merge commits leave outside.
    """
    found = list(releases(git, policy).items())
    if is_on_line(git, Line.of(policy).main, commit):
        found = [(version, at) for version, at in found if git.is_ancestor(at, commit)]
    return found[-1] if found else None


def changes(git: Git, policy: Policy, commit: str, *, since: str | None) -> list[Change]:
    """Return the changes that `commit` has and `since` lacks, the newest first; merges are no changes."""
    span = [commit] if since is None else [commit, f"^{since}"]
    listed = git("log", "--no-merges", "--format=%H%x00%B%x01", *span)
    parsed = (entry.strip("\n").partition("\0") for entry in listed.split("\x01") if entry.strip("\n"))
    return [parse_change(policy, sha, message.strip()) for sha, _, message in parsed]


def is_on_line(git: Git, branch: str, commit: str) -> bool:
    """Return whether a branch has ended at `commit` once, as last fetched; what was merged into it does not count."""
    return commit in _own_line(git, branch)


def only_hotfixes(git: Git, policy: Policy, commit: str, *, since: str) -> bool:
    """Return whether every merge that `commit` has on its own line since `since` is one of a hotfix."""
    kind = Line.of(policy).urgent
    tips = set(git.remote_branches(kind).values())
    merges = git("log", "--first-parent", "--format=%P%x00%s", f"{since}..{commit}").splitlines()

    def is_hotfix(line: str) -> bool:
        parents, _, subject = line.partition("\0")
        branch = _merged_branch(policy, subject)
        if branch is not None:
            return branch.kind == kind
        return bool(tips & set(parents.split()[1:]))

    return bool(merges) and all(is_hotfix(line) for line in merges)


def _has_more(git: Git, branch: str, other: str) -> bool:
    tip, known = git.remote_branch(branch), git.remote_branch(other)
    return tip is not None and known is not None and not git.is_ancestor(tip, known)


def _merged_into(git: Git, policy: Policy, target: str) -> Iterator[tuple[Branch, str]]:
    tip = git.remote_branch(target)
    if tip is None:
        return
    listed = git("log", "--first-parent", "--merges", f"--max-count={_MERGES_READ}", "--format=%P%x00%s", tip)
    for line in listed.splitlines():
        parents, _, subject = line.partition("\0")
        branch = _merged_branch(policy, subject)
        if branch is not None:
            yield branch, parents.split()[1]


def _merged_branch(policy: Policy, subject: str) -> Branch | None:
    match = _MERGED.match(subject)
    if match is None:
        return None
    try:
        return parse_branch(policy, match[1])
    except UsageError:
        return None


def _is_itself(policy: Policy, name: str) -> bool:
    try:
        return parse_branch(policy, name).resolves is None
    except UsageError:
        return False


def _own_line(git: Git, branch: str) -> set[str]:
    tip = git.remote_branch(branch)
    return set(git("rev-list", "--first-parent", tip).split()) if tip else set()


def _lacking(git: Git, branch: str, commits: Collection[str]) -> set[str]:
    """Return those of the commits that a branch does not have."""
    tip = git.remote_branch(branch)
    if tip is None or not commits:
        return set(commits)
    return set(git("rev-list", *sorted(commits), f"^{tip}").split()) & set(commits)
