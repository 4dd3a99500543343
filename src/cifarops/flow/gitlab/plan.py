"""What a project's settings are, what the policy wants, and the difference: shown as a plan, applied as one."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from cifarops.errors import UsageError
from cifarops.flow.gitlab import wanted
from cifarops.flow.gitlab.approval_rules import approvers
from cifarops.flow.gitlab.client import Client, GitLabError, segment
from cifarops.flow.gitlab.features import Feature, Gap
from cifarops.flow.gitlab.kinds import KINDS, Kind
from cifarops.flow.gitlab.protection import LEVELS
from cifarops.flow.gitlab.wanted import Approver, Named, differing
from cifarops.flow.policy import Policy

_MISSING = (403, 404)


@dataclass(frozen=True)
class Difference:
    """One field that is not as the policy wants it; `found` is None where there is nothing."""

    field: str
    found: Any
    wanted: Any


@dataclass(frozen=True)
class Change:
    """One thing to be created, changed or removed.

    Attributes:
        action: What is done with it.
        kind: Which kind of settings.
        name: Which one of that kind.
        differences: The fields it is about; empty when it is removed.
    """

    action: Literal["create", "change", "remove"]
    kind: str
    name: str
    differences: tuple[Difference, ...] = ()

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return one row a field, for a table: what, field, found, wanted."""
        what = f"{self.action} {self.kind} {self.name}"
        if not self.differences:
            return [(what, "", "there", "gone")]
        return [
            (what if index == 0 else "", each.field, _shown(each.found), _shown(each.wanted))
            for index, each in enumerate(self.differences)
        ]


@dataclass(frozen=True)
class Plan:
    """What it takes until a project is as the policy says.

    Attributes:
        project: Path of the project.
        url: Address of the server.
        frozen: The branch that a freeze keeps locked, if one does.
        changes: What is to be done, in this order; empty when nothing is.
        gaps: What this server does not enforce by itself.
        notes: What no setting can put right.
    """

    project: str
    url: str
    frozen: str | None
    changes: tuple[Change, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the plan for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Applied:
    """What was done, and what still differs because GitLab did not keep it."""

    changes: tuple[Change, ...]
    remaining: Plan


@dataclass(frozen=True)
class _State:
    """What was read of a project."""

    found: dict[str, Named]
    wanted: dict[str, Named]
    frozen: bool
    missing: tuple[Feature, ...]
    approvers: tuple[Approver, ...]


def make_plan(client: Client, policy: Policy) -> Plan:
    """Compare a project with the policy; changes nothing.

    Raises:
        CifaropsError: GitLab does not answer or refuses, or the project lacks the policy's branches.
    """
    return _plan(client, policy, _look(client, policy))


def apply(client: Client, policy: Policy) -> Applied:
    """Bring a project to what the policy says; the same again does nothing.

    Killed or refused in the middle, it goes on where it was when it is run again.

    Raises:
        CifaropsError: As `make_plan`; the changes before the one that was refused stay.
    """
    state = _look(client, policy)
    changes = _plan(client, policy, state).changes
    kinds = {kind.name: kind for kind in KINDS}
    for change in changes:
        _carry_out(client, kinds[change.kind], change, state)
    return Applied(changes, make_plan(client, policy))


def _look(client: Client, policy: Policy) -> _State:
    _check_rights(client)
    _check_branches(client, policy)
    found: dict[str, Named] = {}
    missing: dict[Feature, None] = {}
    for kind in KINDS:
        try:
            found[kind.name] = kind.read(client)
        except GitLabError as error:
            if kind.feature is None or error.status not in _MISSING:
                raise
            missing[kind.feature] = None
    may_approve = () if Feature.APPROVALS in missing else tuple(approvers(client))
    frozen = client.find(f"repository/tags/{segment(f'freeze/{policy.freeze.branch}')}") is not None
    return _State(
        found=found,
        wanted=_wanted(policy, frozen, tuple(missing), may_approve),
        frozen=frozen,
        missing=tuple(missing),
        approvers=may_approve,
    )


def _check_rights(client: Client) -> None:
    """Refuse a token that lacks the rights at the beginning, and not in the middle."""
    permissions = client.get().get("permissions") or {}
    memberships = [membership for membership in permissions.values() if membership]
    # An administrator is no member; what an administrator may do is not in this answer.
    if memberships and max(each["access_level"] for each in memberships) < LEVELS["maintainer"]:
        raise GitLabError(
            f"The token's role in {client.access.project} is too low to see and change its settings.",
            fix="Use a token with role Maintainer and scope api: export CIFAROPS_GITLAB_TOKEN=<token>.",
            status=403,
        )


def _check_branches(client: Client, policy: Policy) -> None:
    absent = [
        branch for branch in policy.protected if client.find(f"repository/branches/{segment(branch)}") is None
    ]
    if absent:
        raise UsageError(
            f"{client.access.project} has no branch {' and no branch '.join(absent)}.",
            fix=f"Create it from the newest commit: git push origin {' '.join(f'HEAD:refs/heads/{name}' for name in absent)}",
        )


def _wanted(
    policy: Policy, frozen: bool, missing: tuple[Feature, ...], may_approve: tuple[Approver, ...]
) -> dict[str, Named]:
    everything = {
        "protected branch": wanted.branches(
            policy, frozen=frozen, with_code_owners=Feature.APPROVALS not in missing
        ),
        "protected tag": wanted.tags(policy),
        "project setting": wanted.project(policy),
        "approval setting": wanted.approval_settings(),
        "approval rule": wanted.approval_rules(policy, may_approve),
        "push rule": wanted.push_rules(policy),
        "protected environment": wanted.environments(policy),
        "label": wanted.labels(policy),
        "schedule": wanted.schedules(policy),
    }
    return {kind.name: everything[kind.name] for kind in KINDS if kind.feature not in missing}


def _plan(client: Client, policy: Policy, state: _State) -> Plan:
    return Plan(
        project=client.access.project,
        url=client.access.url,
        frozen=policy.freeze.branch if state.frozen else None,
        changes=tuple(
            change for kind in KINDS if kind.name in state.wanted for change in _changes(kind, state)
        ),
        gaps=tuple(feature.gap for feature in Feature if feature in state.missing),
        notes=tuple(_notes(policy, state)),
    )


def _changes(kind: Kind, state: _State) -> Iterator[Change]:
    found, wanted_ones = state.found[kind.name], state.wanted[kind.name]
    for name, fields in wanted_ones.items():
        there = found.get(name)
        differences = tuple(
            Difference(field, None if there is None else there.get(field), value)
            for field, value in differing(there, fields).items()
        )
        if differences:
            yield Change("create" if there is None else "change", kind.name, name, differences)
    for name in found:
        if name not in wanted_ones and kind.is_harmful(name, wanted_ones):
            yield Change("remove", kind.name, name)


def _carry_out(client: Client, kind: Kind, change: Change, state: _State) -> None:
    if change.action != "remove":
        found, fields = (named[kind.name] for named in (state.found, state.wanted))
        kind.write(client, change.name, found.get(change.name), fields[change.name])
    elif kind.remove is not None:
        kind.remove(client, change.name)


def _notes(policy: Policy, state: _State) -> Iterator[str]:
    if Feature.APPROVALS in state.missing:
        return
    people = len(state.approvers)
    for branch, rules in policy.protected.items():
        if people <= rules.approvals:
            yield (
                f"{branch} needs {rules.approvals} approval(s) besides the author's, and {people} member(s) may approve:"
                f" give the role Developer to {rules.approvals + 1 - people} more."
            )


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}={each}" for key, each in value.items())
    return str(value)
