"""When a merge request may be merged, and the merge commit itself, made without a work tree."""

from pathlib import Path

from cifarops.errors import ConflictError
from cifarops.flow.checks import check_merge
from cifarops.flow.git import Git
from cifarops.flow.local.state import ForgeState, Request
from cifarops.flow.policy import Policy
from cifarops.flow.rules import Answer, parse_branch
from cifarops.flow.words import counted


def server_git(root: Path, user: str) -> Git:
    """Open the bare repository so that what is committed there is committed by `user`."""
    name = user or "nobody"
    return Git(
        root,
        {
            "GIT_AUTHOR_NAME": name,
            "GIT_AUTHOR_EMAIL": f"{name}@localhost",
            "GIT_COMMITTER_NAME": name,
            "GIT_COMMITTER_EMAIL": f"{name}@localhost",
        },
    )


def approvers(request: Request, head: str) -> list[str]:
    """Return who approved the commit `head` of a merge request, its author left out."""
    return [user for user, commit in request.approvals.items() if commit == head and user != request.author]


def merge_refusal(git: Git, state: ForgeState, request: Request, user: str) -> Answer | None:
    """Return why a member may not merge an open merge request now and what to do, or None if it is fine.

    Args:
        git: The bare repository.
        state: The forge's state.
        request: The merge request.
        user: Login of who wants to merge.
    """
    policy, target = state.policy, request.target
    answer = check_merge(git, policy, request.source, target, branches="refs/heads/", tags="refs/tags/")
    if not answer.allowed:
        return answer
    rules = policy.protected[target]
    if rules.merge == "maintainer" and state.members[user] != "maintainer":
        return Answer(
            False, f"only maintainers merge into {target}, and {user} is none.", "Ask a maintainer to merge."
        )
    if target in state.locked:
        return Answer(False, f"{target} is locked.", "See why, and lift it: cifarops flow status.")
    head = git.commit(f"refs/heads/{request.source}")
    approved = approvers(request, head)
    if len(approved) < rules.approvals:
        return Answer(
            False,
            f"{target} needs {counted(rules.approvals, 'approval')} of the newest commit and has {len(approved)}"
            f" (the author's own does not count).",
            f"Ask somebody other than {request.author} to review and approve it.",
        )
    if not request.pipelines.get(head, False):
        ended = "failed" if head in request.pipelines else "has not ended yet"
        return Answer(
            False, f"its pipeline for {head[:12]} {ended}.", "Wait until it is green, or push a correction."
        )
    files = git.conflicts(f"refs/heads/{target}", head)
    if files:
        return Answer(
            False, f"it conflicts with {target} in {', '.join(files)}.", _resolution(policy, request)
        )
    return None


def _resolution(policy: Policy, request: Request) -> str:
    branch, target = parse_branch(policy, request.source), request.target
    work = policy.work.get(branch.kind)
    if work is not None and target in work.merged_back and branch.resolves is None:
        return f"Resolve them on {branch.full}-into-{target}; how is told by: cifarops flow hotfix finish"
    return f"Merge {target} into your branch and resolve them there: git merge origin/{target}."


def write_merge(git: Git, request: Request) -> str:
    """Merge a request that may be merged, always by a merge commit, and return that commit.

    Raises:
        ConflictError: The target moved meanwhile.
    """
    source, target = f"refs/heads/{request.source}", f"refs/heads/{request.target}"
    before = git.commit(target)
    tree = git("merge-tree", "--write-tree", target, source).splitlines()[0]
    message = f"Merge branch '{request.source}' into '{request.target}'\n\n{request.title}\n\nSee merge request !{request.number}\n"
    merged = git("commit-tree", tree, "-p", before, "-p", git.commit(source), stdin=message)
    if not git.succeeds("update-ref", target, merged, before):
        raise ConflictError(f"{request.target} moved while it was merged.", fix="Merge it again.")
    return merged
