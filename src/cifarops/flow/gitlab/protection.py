"""The protection of one branch: who may push, who may merge; changed without a moment in which it is open."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cifarops.errors import ConflictError
from cifarops.flow.gitlab.client import Client, Document, GitLabError, segment

NOBODY = "nobody"
LEVELS = {NOBODY: 0, "developer": 30, "maintainer": 40, "administrator": 60}
_NAMES = {level: name for name, level in LEVELS.items()}
_TO_CHANGE_LEVELS = (403, 404, 405)


@dataclass(frozen=True)
class Protection:
    """Who may do what with a branch. A role stands for itself and those above it.

    Attributes:
        push: Who may push; one entry, unless people set it by hand.
        merge: Who may merge.
        force_push: Whether those who may push may rewrite history.
        code_owners: Whether a code owner must approve; None where GitLab's tier does not know it.
    """

    push: tuple[str, ...]
    merge: tuple[str, ...]
    force_push: bool = False
    code_owners: bool | None = None


def who(levels: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return access levels as names: roles, `user 5`, `group 7`, `deploy key 3`."""
    return tuple(sorted(_name(level) for level in levels))


def read_protection(document: Mapping[str, Any], *, with_code_owners: bool) -> Protection:
    """Read GitLab's description of a protected branch."""
    return Protection(
        push=who(document["push_access_levels"]),
        merge=who(document["merge_access_levels"]),
        force_push=document["allow_force_push"],
        code_owners=bool(document.get("code_owner_approval_required")) if with_code_owners else None,
    )


def find_protection(client: Client, branch: str, *, with_code_owners: bool) -> Protection | None:
    """Return how a branch is protected, or None if no rule names it."""
    document = client.find(f"protected_branches/{segment(branch)}")
    return None if document is None else read_protection(document, with_code_owners=with_code_owners)


def protect(client: Client, branch: str, wanted: Protection) -> None:
    """Let a branch be protected as `wanted`; nothing is done where it is.

    Raises:
        GitLabError: GitLab refuses, or answers that it did but did not.
    """
    with_code_owners = wanted.code_owners is not None
    path = f"protected_branches/{segment(branch)}"
    found = client.find(path)
    if found is None:
        client.post("protected_branches", _creation(branch, wanted))
    elif read_protection(found, with_code_owners=with_code_owners) != wanted and not _patched(
        client, path, found, wanted
    ):
        _replace(client, branch, path, wanted)
    kept = find_protection(client, branch, with_code_owners=with_code_owners)
    if kept != wanted:
        raise GitLabError(
            f"GitLab accepted the protection of {branch} but keeps another: {kept}.",
            fix="See Settings > Repository > Protected branches; a group or an administrator may have set it.",
        )


def _patched(client: Client, path: str, found: Document, wanted: Protection) -> bool:
    """Change levels in place, which Free ignores or refuses; return whether GitLab then has what is wanted."""
    body: Document = {
        "allow_force_push": wanted.force_push,
        "allowed_to_push": _level_changes(found["push_access_levels"], wanted.push),
        "allowed_to_merge": _level_changes(found["merge_access_levels"], wanted.merge),
    }
    with_code_owners = wanted.code_owners is not None
    if with_code_owners:
        body["code_owner_approval_required"] = wanted.code_owners
    try:
        client.patch(path, body)
        return read_protection(client.get(path), with_code_owners=with_code_owners) == wanted
    except GitLabError as error:
        if error.status not in _TO_CHANGE_LEVELS:
            raise
        return False


def _replace(client: Client, branch: str, path: str, wanted: Protection) -> None:
    # Without its rule the branch would be open to everyone who may push; of several rules that match, GitLab takes
    # the most permissive, so a rule for `develop*` that lets nobody do anything closes the gap and loosens nothing.
    # A crash leaves it behind, closed; the next plan shows and removes it.
    shield = f"{branch}*"
    with suppress(ConflictError):  # left behind by one that was killed
        client.post("protected_branches", _creation(shield, Protection((NOBODY,), (NOBODY,))))
    client.delete(path)
    client.post("protected_branches", _creation(branch, wanted))
    client.delete(f"protected_branches/{segment(shield)}")


def _creation(branch: str, wanted: Protection) -> Document:
    (push,), (merge,) = wanted.push, wanted.merge
    body: Document = {
        "name": branch,
        "push_access_level": LEVELS[push],
        "merge_access_level": LEVELS[merge],
        "allow_force_push": wanted.force_push,
    }
    if wanted.code_owners is not None:
        body["code_owner_approval_required"] = wanted.code_owners
    return body


def _level_changes(found: Sequence[Mapping[str, Any]], wanted: Sequence[str]) -> list[Document]:
    present = who(found)
    removed = [{"id": level["id"], "_destroy": True} for level in found if _name(level) not in wanted]
    return removed + [{"access_level": LEVELS[name]} for name in wanted if name not in present]


def _name(level: Mapping[str, Any]) -> str:
    for key, name in (("user_id", "user"), ("group_id", "group"), ("deploy_key_id", "deploy key")):
        if level.get(key) is not None:
            return f"{name} {level[key]}"
    return _NAMES.get(level["access_level"], f"level {level['access_level']}")
