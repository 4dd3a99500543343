"""Bring a hotfix to main, and from there to everywhere else where it is missing."""

from collections.abc import Sequence

from cifarops.errors import CifaropsError, ConflictError
from cifarops.flow.forge import Forge, open_request
from cifarops.flow.git import REMOTE, Git
from cifarops.flow.history import Hotfix, hotfixes, locate
from cifarops.flow.line import Line
from cifarops.flow.policy import Policy
from cifarops.flow.ready import require_history, require_ready
from cifarops.flow.rules import Branch, parse_branch
from cifarops.flow.steps import Listener, Step, nobody, take
from cifarops.flow.whereabouts import Progress, is_in, progress_of, recipe_for
from cifarops.flow.words import counted

_LABEL = "hotfix"
_NOTE = "hotfix-conflict"


def finish(
    git: Git, policy: Policy, forge: Forge, *, dry_run: bool = False, listener: Listener = nobody
) -> Progress:
    """Push the current hotfix and open its merge request into `main`; once it is there, those into the other branches.

    On `hotfix/NAME-into-TARGET`, which resolves a conflict, the merge request is into that target.

    Raises:
        CifaropsError: The current branch is no hotfix or has no commit, or the clone is not ready.
        ConflictError: The remote's branch has commits that this one lacks.
        UnavailableError: The remote does not answer.
    """
    branch = _require_hotfix(policy, require_ready(git, policy))
    _require_not_diverged(git, branch)
    hotfix = _own(git, policy, branch)
    target = branch.resolves or hotfix.origin
    head = git.commit()
    if git.is_ancestor(head, f"{REMOTE}/{target}") and not hotfix.is_merged:
        raise _nothing_in(branch, target)
    steps = [
        Step(
            f"push {branch.full}",
            lambda: git.remote_branch(branch.full) != head and not is_in(git, head, target),
            lambda: git.push(f"{head}:refs/heads/{branch.full}"),
        ),
        _request_step(git, forge, branch.full, head, target),
    ]
    taken = take(steps, dry_run=dry_run, listener=listener)
    if hotfix.is_merged:
        taken += take(_back_steps(git, forge, hotfix), dry_run=dry_run, listener=listener)
    return progress_of(git, forge, hotfix, taken)


def backmerge(
    git: Git,
    policy: Policy,
    forge: Forge,
    *,
    restore: bool = True,
    dry_run: bool = False,
    listener: Listener = nobody,
) -> list[Progress]:
    """Open what is missing of merge requests for every hotfix that is in `main` and not everywhere yet.

    A conflict is told in a note on the merge request, with the files and how to resolve it.

    Args:
        git: The clone.
        policy: The policy.
        forge: What holds the remote.
        restore: Push a branch again that was deleted too early. A job of the pipeline does not: it may not push, and
            whoever deleted the branch should hear of it.
        dry_run: Only say what would be done.
        listener: Told of each step.

    Raises:
        CifaropsError: The clone is shallow, or a branch was deleted and is not to be restored; the others are dealt with.
        UnavailableError: The remote does not answer.
    """
    require_history(git)
    git.fetch()
    unfinished = [each for each in hotfixes(git, policy) if each.is_merged and not each.is_done]
    lost = [each for each in unfinished if not each.on_remote and not restore]
    told = [
        progress_of(
            git, forge, hotfix, take(_back_steps(git, forge, hotfix), dry_run=dry_run, listener=listener)
        )
        for hotfix in unfinished
        if hotfix not in lost
    ]
    if lost:
        raise _deleted_too_early(lost)
    return told


def _deleted_too_early(lost: Sequence[Hotfix]) -> CifaropsError:
    pushes = " ".join(f"{each.commit}:refs/heads/{each.branch}" for each in lost)
    return CifaropsError(
        "; ".join(map(str, lost)) + ", and was deleted: a merge request needs its branch.",
        fix=f"Restore it: git push {REMOTE} {pushes} && cifarops flow backmerge",
    )


def _require_not_diverged(git: Git, branch: Branch) -> None:
    theirs = git.remote_branch(branch.full)
    if theirs is None or git.is_ancestor(theirs, "HEAD") or git.is_ancestor("HEAD", theirs):
        return
    ahead, behind = git("rev-list", "--left-right", "--count", f"HEAD...{theirs}").split()
    raise ConflictError(
        f"{branch.full} has diverged: {counted(int(ahead), 'commit')} here that the remote lacks, and"
        f" {counted(int(behind), 'commit')} there that you lack.",
        fix=f"Put yours on top: git rebase {REMOTE}/{branch.full} && cifarops flow hotfix finish",
    )


def _require_hotfix(policy: Policy, name: str) -> Branch:
    branch, urgent = parse_branch(policy, name), Line.of(policy).urgent
    if branch.kind != urgent:
        raise CifaropsError(
            f"{branch.full} is no {urgent}.",
            fix=f"Go to yours: git switch {urgent}/<name>, or begin one: cifarops flow start {urgent} <name>",
        )
    return branch


def _own(git: Git, policy: Policy, branch: Branch) -> Hotfix:
    """Return the hotfix that a branch is, or that it resolves a conflict of."""
    name = f"{branch.kind}/{branch.name}"
    known = {each.branch: each for each in hotfixes(git, policy)}
    if name in known and (branch.resolves or git.is_ancestor(git.commit(), known[name].commit)):
        return known[name]
    if branch.resolves:
        raise CifaropsError(
            f"{branch.full} resolves a conflict of {name}, which the remote does not have.",
            fix=f"Push that first: git switch {name} && cifarops flow hotfix finish",
        )
    (located,) = locate(git, policy, {name: git.commit()}, on_remote={name})
    return located


def _nothing_in(branch: Branch, target: str) -> CifaropsError:
    if branch.resolves:
        return CifaropsError(
            f"{branch.full} has nothing that {target} lacks.", fix=f"It is done: git branch -d {branch.full}"
        )
    return CifaropsError(
        f"{branch.full} has no commit that {target} lacks.",
        fix="Commit the correction. If the model alone was rolled back (cifarops deploy rollback), record that: "
        'git commit --allow-empty -m "fix: production runs the previous model again"',
    )


def _back_steps(git: Git, forge: Forge, hotfix: Hotfix) -> list[Step]:
    steps = []
    if hotfix.missing and not hotfix.on_remote:
        steps.append(
            Step(
                f"restore {hotfix.branch} at {hotfix.commit[:12]}",
                lambda: git.remote_branch(hotfix.branch) is None,
                lambda: git.push(f"{hotfix.commit}:refs/heads/{hotfix.branch}"),
            )
        )
    for target in hotfix.missing:
        steps.append(_request_step(git, forge, hotfix.branch, hotfix.commit, target))
        if git.conflicts(f"{REMOTE}/{target}", hotfix.commit):
            steps.append(_conflict_step(git, forge, hotfix, target))
    return steps


def _request_step(git: Git, forge: Forge, source: str, commit: str, target: str) -> Step:
    def open_it() -> None:
        subject = git("log", "-1", "--format=%s", commit)
        changes_files = not git.succeeds("diff", "--quiet", f"{REMOTE}/{target}...{commit}")
        forge.open(
            source,
            target,
            title=f"Hotfix into {target}: {subject}",
            description=(
                f"Brings {source} into {target}."
                if changes_files
                else f"Brings {source} into {target}. It changes no file: the model alone was rolled back, and the"
                " patch release records that."
            ),
            labels=[_LABEL],
        )

    return Step(
        f"open a merge request of {source} into {target}",
        lambda: not is_in(git, commit, target) and open_request(forge, source, target) is None,
        open_it,
    )


def _conflict_step(git: Git, forge: Forge, hotfix: Hotfix, target: str) -> Step:
    def note() -> None:
        request = open_request(forge, hotfix.branch, target)
        files = git.conflicts(f"{REMOTE}/{target}", hotfix.commit)
        if request is not None:
            body = f"This conflicts with {target} in {', '.join(files)}.\n\n```\n{recipe_for(hotfix, target, files)}\n```\n"
            forge.comment(request.number, body, key=_NOTE)

    return Step(
        f"say on the merge request into {target} how to resolve its conflict",
        lambda: open_request(forge, f"{hotfix.branch}-into-{target}", target) is None,
        note,
    )
