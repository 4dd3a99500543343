"""Approvals as GitLab's settings: what counts as one, how many each branch asks for, and of whom."""

import re

from cifarops.flow.gitlab.client import Client, Document
from cifarops.flow.gitlab.protection import LEVELS
from cifarops.flow.gitlab.wanted import ANY_APPROVER, Approver, Fields, Named, differing

_BOT = re.compile(r"(project|group)_\d+_bot.*")


def read_settings(client: Client) -> Named:
    """Return what counts as an approval."""
    return {"approvals": client.get("approvals")}


def write_settings(client: Client, _: str, found: Fields | None, fields: Fields) -> None:
    """Change what counts as an approval."""
    client.post("approvals", differing(found, fields))


def read_rules(client: Client) -> Named:
    """Return the rules; the one without names under the name that we give it."""
    return {
        ANY_APPROVER if rule["rule_type"] == "any_approver" else rule["name"]: {
            "approvals": rule["approvals_required"],
            "branches": tuple(sorted(branch["name"] for branch in rule["protected_branches"])),
            "approvers": tuple(sorted(user["username"] for user in rule["users"])),
            "id": rule["id"],
        }
        for rule in client.list("approval_rules")
    }


def write_rule(client: Client, name: str, found: Fields | None, fields: Fields) -> None:
    """Create or change a rule; branches and people become the ids that GitLab wants."""
    branches = {each["name"]: each["id"] for each in client.list("protected_branches")}
    people = {approver.username: approver.id for approver in approvers(client)}
    body: Document = {
        "name": name,
        "approvals_required": fields["approvals"],
        "protected_branch_ids": [branches[branch] for branch in fields["branches"]],
        "user_ids": [people[username] for username in fields["approvers"]],
    }
    if found is None:
        kind = "any_approver" if name == ANY_APPROVER else "regular"
        client.post("approval_rules", {**body, "rule_type": kind})
    else:
        client.put(f"approval_rules/{found['id']}", body)


def remove_rule(client: Client, name: str) -> None:
    """Remove a rule."""
    client.delete(f"approval_rules/{read_rules(client)[name]['id']}")


def approvers(client: Client) -> list[Approver]:
    """Return the members who may approve: people with at least the role developer."""
    return [
        Approver(member["id"], member["username"])
        for member in client.list("members/all")
        if member["access_level"] >= LEVELS["developer"]
        and member["state"] == "active"
        and not _BOT.fullmatch(member["username"])
    ]
