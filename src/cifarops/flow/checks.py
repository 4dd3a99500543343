"""The policy against a real repository: may this be committed, pushed, merged here?"""

import re
from collections.abc import Iterable
from pathlib import Path

from cifarops.errors import UsageError
from cifarops.flow.freeze import known_freeze
from cifarops.flow.git import REMOTE, REMOTE_BRANCHES, REMOTE_TAGS, Git
from cifarops.flow.messages import MessageKind, check_message
from cifarops.flow.policy import POLICY, Policy, load_policy, parse_policy
from cifarops.flow.rules import Answer, Branch, may_merge, may_push, parse_branch
from cifarops.flow.words import counted

_BRANCHES = "refs/heads/"


def current_branch(git: Git) -> str:
    """Return the branch that HEAD is on, or the one that is being rebased.

    Raises:
        UsageError: HEAD is detached.
    """
    branch = git.current_branch()
    if branch is not None:
        return branch
    for state in ("rebase-merge", "rebase-apply"):
        name = git.root / git("rev-parse", "--git-path", f"{state}/head-name")
        if name.is_file():
            return name.read_text().strip().removeprefix(_BRANCHES)
    raise UsageError(
        "HEAD is detached: what is committed here is on no branch.",
        fix="Make a branch of it: git switch -c feature/<name>.",
    )


def check_commit(git: Git, policy: Policy) -> Branch:
    """Return the branch that a commit may be made on now.

    Raises:
        UsageError: HEAD is detached, the branch has an invalid name, or it is protected.
    """
    branch = parse_branch(policy, current_branch(git))
    answer = may_push(policy, branch.full)
    if not answer.allowed:
        raise UsageError(answer.reason, fix=answer.instead)
    return branch


def check_message_file(git: Git, policy: Policy, file: Path) -> MessageKind:
    """Say which kind of message a file holds that git gives to its commit-msg hook.

    Raises:
        UsageError: There is no such file, or the policy does not admit the message.
    """
    try:
        text = file.read_text(errors="replace")
    except OSError as error:
        raise UsageError(
            f"{file} can't be read: {error.strerror}.", fix="Name the file with the message."
        ) from error
    written = re.split(r"(?m)^. -+ >8 -+$", text, maxsplit=1)[
        0
    ]  # below stands the difference, for the editor
    return check_message(policy, git.run("stripspace", "--strip-comments", stdin=written).stdout)


def check_push(policy: Policy, lines: Iterable[str]) -> list[str]:
    """Return the commits that a push sends to branches.

    A branch with an invalid name may be deleted; whether a protected branch may begin is for the server to say.

    Args:
        policy: The policy.
        lines: What git tells a pre-push hook: `local-ref local-commit remote-ref remote-commit` each.

    Raises:
        UsageError: A branch has an invalid name or is protected.
    """
    commits = []
    for line in lines:
        _, commit, reference, before = line.rsplit(maxsplit=3)  # the first may hold blanks: HEAD@{1 day ago}
        branch = reference.removeprefix(_BRANCHES)
        if branch == reference or (_is_absent(commit) and branch not in policy.protected):
            continue
        answer = may_push(policy, branch)
        begins = branch in policy.protected and _is_absent(before)
        if not answer.allowed and not begins:
            raise UsageError(answer.reason, fix=answer.instead)
        commits.append(commit)
    return list(dict.fromkeys(commits))


def policy_of(git: Git, branch: str, *, branches: str = REMOTE_BRANCHES) -> Policy:
    """Return the policy on a branch; where it has none yet, the one in the work tree.

    A merge is judged by the policy of its target, so that no change can admit itself.

    Raises:
        UsageError: There is none, or something in it is wrong.
    """
    found = git.run("show", f"{branches}{branch}:{POLICY}")
    if found.returncode == 0:
        return parse_policy(found.stdout, f"{POLICY} of {branch}")
    return load_policy(git.root / POLICY)


def check_merge(
    git: Git,
    policy: Policy,
    source: str,
    target: str,
    *,
    branches: str = REMOTE_BRANCHES,
    tags: str = REMOTE_TAGS,
) -> Answer:
    """Say whether one branch may merge into another: names, freeze, where it started, what it must carry.

    Args:
        git: The repository, with every branch fetched and no commit left out.
        policy: The policy of the target.
        source: The branch with the change.
        target: The branch it is to be merged into.
        branches: Where branches lie; `refs/heads/` in the remote itself.
        tags: Where tags lie; `refs/tags/` in the remote itself.

    Raises:
        UsageError: A branch does not exist.
        IntegrityError: The freeze can't be read.
    """
    frozen = known_freeze(git, policy.freeze.branch, tags=tags)
    answer = may_merge(policy, source, target, frozen=frozen)
    if not answer.allowed:
        return answer
    branch = parse_branch(policy, source)
    commits = {name: _tip(git, branches, name) for name in (source, target)}
    return (
        _foreign_origin(git, policy, branch, branches)
        or _missing_file(git, policy, branch, commits[source])
        or answer
    )


def fetch_all(git: Git) -> None:
    """Fetch every branch and tag, and the commits that a shallow clone left out.

    Raises:
        UnavailableError: The remote does not answer.
    """
    git.fetch()
    if git.is_shallow():
        git("fetch", "--quiet", "--unshallow", "--no-tags", REMOTE)


def _is_absent(commit: str) -> bool:
    return not commit.strip("0")


def _tip(git: Git, branches: str, branch: str) -> str:
    commit = git.find_commit(branches + branch)
    if commit is None:
        raise UsageError(
            f"The remote has no branch {branch}.", fix=f"Push it: git push -u {REMOTE} {branch}."
        )
    return commit


def _foreign_origin(git: Git, policy: Policy, branch: Branch, branches: str) -> Answer | None:
    work = policy.work.get(branch.kind)
    if work is None or not work.is_urgent:
        return None
    known = [f"^{branches}{name}" for name in (work.origin, branch.resolves) if name]
    for other in work.merged_back:
        if other == branch.resolves or git.find_commit(branches + other) is None:
            continue
        # Along the first parents lie the merges into that branch, not the hotfix that was merged back itself.
        brought = git("rev-list", "--first-parent", branches + other, *known).splitlines()
        foreign = set(brought) & set(git("rev-list", branches + branch.full, *known).splitlines())
        if foreign:
            return Answer(
                False,
                f"{branch.full} contains {counted(len(foreign), 'commit')} of {other} that {work.origin} lacks: it starts from"
                f" {work.origin} and from nowhere else.",
                f"Move its own commits: git rebase --onto {REMOTE}/{work.origin} {REMOTE}/{other} {branch.full}."
                f" A conflict with {other} is resolved on {branch.kind}/{branch.name}-into-{other}.",
            )
    return None


def _missing_file(git: Git, policy: Policy, branch: Branch, commit: str) -> Answer | None:
    work = policy.work.get(branch.kind)
    if work is None or work.requires is None:
        return None
    path = work.requires.format(name=branch.name)
    if git.succeeds("cat-file", "-e", f"{commit}:{path}"):
        return None
    return Answer(
        False, f"{branch.full} has no file {path}.", f"Write it, then: git add {path} && git commit"
    )
