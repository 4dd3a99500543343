"""What the policy allows: names of branches, merges and pushes. Pure: no Git, no files."""

import difflib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cifarops.errors import UsageError
from cifarops.flow.policy import Policy

if TYPE_CHECKING:
    from cifarops.flow.freeze import Freeze


@dataclass(frozen=True)
class Branch:
    """A branch with a valid name.

    Attributes:
        kind: A work branch type, or a protected branch's name.
        name: What follows the slash; empty for protected branches.
        resolves: The protected branch whose conflict it resolves, for a branch made for that.
        full: The whole name.
    """

    kind: str
    name: str
    resolves: str | None
    full: str


@dataclass(frozen=True)
class Answer:
    """Whether something may be done.

    Attributes:
        allowed: Yes or no.
        reason: Why, in one sentence.
        instead: What to do instead; empty when allowed.
    """

    allowed: bool
    reason: str
    instead: str = ""


# --- names


def parse_branch(policy: Policy, text: str) -> Branch:
    """Read a branch's name.

    Raises:
        UsageError: It has none of the forms that the policy knows; says which are right, and the nearest.
    """
    branch = _parse(policy, text)
    if branch is None:
        forms = ", ".join([*(f"{kind}/<name>" for kind in policy.work), *policy.protected])
        nearest = nearest_branch(policy, text)
        raise UsageError(
            f"{text!r} is no valid branch name{f'; the nearest is {nearest}' if nearest else ''}.",
            fix=(
                f"Rename it: git branch -m {nearest or 'feature/<name>'}. Valid are {forms}; <name> matches"
                f" {policy.names.pattern} and has at most {policy.names.longest} characters."
            ),
        )
    return branch


def nearest_branch(policy: Policy, text: str) -> str | None:
    """Return the valid name of a branch that is most like `text`; None if nothing in it can be kept."""
    if text.lower() in policy.protected:
        return text.lower()
    kind, slash, name = text.partition("/")
    if not slash:
        kind, name = "", text
    close = difflib.get_close_matches(kind.lower(), list(policy.work), n=1)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[: policy.names.longest].rstrip("-")
    nearest = f"{close[0] if close else next(iter(policy.work))}/{words}"
    return nearest if _parse(policy, nearest) else None


def _parse(policy: Policy, text: str) -> Branch | None:
    if text in policy.protected:
        return Branch(text, "", None, text)
    kind, _, name = text.partition("/")
    work = policy.work.get(kind)
    if work is None:
        return None
    resolves = None
    for target in work.merged_back:
        stem = name.removesuffix(f"-into-{target}")
        if stem not in (name, ""):
            name, resolves = stem, target
    if len(name) > policy.names.longest or not re.fullmatch(policy.names.pattern, name):
        return None
    return Branch(kind, name, resolves, text)


# --- merging and pushing


def may_merge(policy: Policy, source: str, target: str, *, frozen: "Freeze | None" = None) -> Answer:
    """Say whether one branch may merge into another.

    Args:
        policy: The policy.
        source: The branch with the change.
        target: The branch it is to be merged into.
        frozen: The freeze that is in force, if one is.
    """
    try:
        branch, into = parse_branch(policy, source), parse_branch(policy, target)
    except UsageError as error:
        return Answer(False, error.message, error.fix)
    if into.kind not in policy.protected:
        return Answer(
            False,
            f"{target} is no protected branch; merge requests go into {_listed(policy.protected)}.",
            f"Bring your branch up to date by hand: git switch {target} && git merge origin/{source}",
        )
    if branch.resolves not in (None, target):
        return Answer(
            False,
            f"{source} resolves a conflict with {branch.resolves} and may merge into {branch.resolves} only.",
            f"Merge it into {branch.resolves}; into {target} goes {branch.kind}/{branch.name} itself.",
        )
    if branch.kind not in policy.protected[target].accepts:
        accepted = _listed(_form(policy, kind) for kind in policy.protected[target].accepts)
        return Answer(
            False, f"{target} accepts {accepted}, not {source}.", _way_round(policy, branch, target)
        )
    if frozen is not None and frozen.branch == target:
        return Answer(
            False,
            f"{target} is frozen since {frozen.since:%Y-%m-%d %H:%M} UTC by {frozen.by}: {frozen.reason}.",
            f"Wait until {target} is merged into release, which lifts it, or lift it: cifarops flow unfreeze",
        )
    return Answer(True, f"{target} accepts {_form(policy, branch.kind)}.")


def may_push(policy: Policy, branch: str) -> Answer:
    """Say whether a branch may be pushed to directly."""
    try:
        kind = parse_branch(policy, branch).kind
    except UsageError as error:
        return Answer(False, error.message, error.fix)
    if kind not in policy.protected:
        return Answer(True, f"{_form(policy, kind)} is a work branch.")
    works = [each for each in policy.protected[kind].accepts if each in policy.work]
    return Answer(
        False,
        f"{branch} is protected: it changes by merge requests only.",
        f"Push a branch {_listed(_form(policy, each) for each in works)} and open a merge request into {branch}:"
        f" git switch -c {works[0]}/<name> && git push -o merge_request.create"
        f" -o merge_request.target={branch} -u origin HEAD",
    )


def _way_round(policy: Policy, branch: Branch, target: str) -> str:
    urgent = next(
        (kind for kind, work in policy.work.items() if work.is_urgent and target in work.into), None
    )
    path = _path(policy, branch.kind, target)
    words = []
    if path:
        words.append(f"Merge {branch.full} into {path[0]}; it gets to {target} by {' -> '.join(path)}.")
    if urgent and (not path or target == policy.work[urgent].origin):
        words.append(
            f"For {policy.work[urgent].purpose}, start a branch that may: cifarops flow start {urgent} <name>"
        )
    return " ".join(words) or f"Start from {target} and bring the change by a branch that it accepts."


def _path(policy: Policy, start: str, target: str) -> list[str]:
    """Return the shortest chain of allowed merges from `start` to `target`, without `start`; empty if none."""
    paths = [[kind] for kind in policy.protected if start in policy.protected[kind].accepts]
    for path in paths:  # grows while it is read: breadth first
        if path[-1] == target:
            return path
        paths += [
            [*path, kind]
            for kind in policy.protected
            if path[-1] in policy.protected[kind].accepts and kind not in path
        ]
    return []


def _form(policy: Policy, kind: str) -> str:
    return f"{kind}/*" if kind in policy.work else kind


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
