"""The state of a small GitLab: one project, kept in memory."""

import hashlib
from collections import deque
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

Document = dict[str, Any]
PROJECT = "team/cifarops"
_DESCRIPTIONS = {0: "No one", 30: "Developers + Maintainers", 40: "Maintainers", 60: "Administrators"}


@dataclass
class Fault:
    """An answer to be given instead of the right one."""

    call: str
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Answer:
    """A status and what goes with it."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):  # noqa: N818 - an answer, not a failure of the program
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answer(status, {"message": message})


@dataclass
class GitLab:
    """The state of the one project."""

    tier: Literal["free", "premium"] = "premium"
    branches: list[str] = field(
        default_factory=lambda: ["main", "develop", "release", "feature/x", "hotfix/y"]
    )
    tags: dict[str, str] = field(default_factory=dict)
    members: list[Document] = field(
        default_factory=lambda: [
            {"id": 1, "username": "ada", "name": "Ada", "state": "active", "access_level": 40},
            {"id": 2, "username": "bob", "name": "Bob", "state": "active", "access_level": 30},
            {"id": 3, "username": "cleo", "name": "Cleo", "state": "active", "access_level": 30},
            {"id": 4, "username": "guest", "name": "Guest", "state": "active", "access_level": 10},
            {"id": 5, "username": "project_7_bot_1", "name": "bot", "state": "active", "access_level": 40},
        ]
    )
    faults: deque[Fault] = field(default_factory=deque)
    calls: list[str] = field(default_factory=list)
    exposed: list[str] = field(default_factory=list)
    protected_branches: list[Document] = field(default_factory=list)
    protected_tags: list[Document] = field(default_factory=list)
    approval_rules: list[Document] = field(default_factory=list)
    protected_environments: list[Document] = field(default_factory=list)
    labels: list[Document] = field(default_factory=list)
    pipeline_schedules: list[Document] = field(default_factory=list)
    merge_requests: list[Document] = field(default_factory=list)
    approved_by: dict[int, list[str]] = field(default_factory=dict)
    notes: dict[int, list[Document]] = field(default_factory=dict)
    releases: list[Document] = field(default_factory=list)
    links: dict[str, list[Document]] = field(default_factory=dict)
    files: list[Document] = field(default_factory=list)
    push_rule: Document | None = None
    approvals: Document = field(
        default_factory=lambda: {
            "disable_overriding_approvers_per_merge_request": False,
            "merge_requests_author_approval": True,
            "merge_requests_disable_committers_approval": False,
            "reset_approvals_on_push": False,
            "selective_code_owner_removals": False,
        }
    )
    project: Document = field(
        default_factory=lambda: {
            "id": 7,
            "path_with_namespace": PROJECT,
            "default_branch": "main",
            "merge_method": "merge",
            "squash_option": "default_off",
            "only_allow_merge_if_pipeline_succeeds": False,
            "allow_merge_on_skipped_pipeline": None,
            "only_allow_merge_if_all_discussions_are_resolved": False,
            "remove_source_branch_after_merge": True,
            "ci_forward_deployment_enabled": True,
            "auto_cancel_pending_pipelines": "enabled",
            "suggestion_commit_message": None,
        }
    )
    _ids: int = 100

    def next_id(self) -> int:
        self._ids += 1
        return self._ids

    def may(self, branch: str, action: Literal["push", "merge"]) -> int:
        """Return the least level that may do it: of all rules that match, the most permissive counts."""
        rules = [rule for rule in self.protected_branches if fnmatchcase(branch, rule["name"])]
        if not rules:
            return 30
        levels = [level["access_level"] for rule in rules for level in rule[f"{action}_access_levels"]]
        return min((level for level in levels if level), default=0)


def levels(gitlab: GitLab, *access_levels: int) -> list[Document]:
    """Return access levels as GitLab shows them."""
    return [
        {
            "id": gitlab.next_id(),
            "access_level": level,
            "access_level_description": _DESCRIPTIONS[level],
            "user_id": None,
            "group_id": None,
        }
        for level in access_levels
    ]


def changed_levels(gitlab: GitLab, found: list[Document], changes: list[Document]) -> list[Document]:
    """Return access levels after changes: removed by `_destroy`, added without an id."""
    gone = {change["id"] for change in changes if change.get("_destroy")}
    added = [levels(gitlab, change["access_level"])[0] | change for change in changes if "id" not in change]
    return [level for level in found if level["id"] not in gone] + added


def find(entries: list[Document], key: str, value: Any) -> Document:
    """Return the entry, or the answer 404."""
    for entry in entries:
        if str(entry[key]) == str(value):
            return entry
    raise Refused(404, "404 Not found")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
