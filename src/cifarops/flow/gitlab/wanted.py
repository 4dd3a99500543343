"""The policy as GitLab's settings. Pure: nothing is asked, nothing is changed."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cifarops.flow.gitlab.protection import NOBODY, Protection
from cifarops.flow.policy import Policy

Fields = Mapping[str, Any]
Named = dict[str, Fields]

# One such rule is all that GitLab allows a project; people give it any name.
ANY_APPROVER = "every merge request"
RULE_PREFIX = "cifarops "

_COLOURS = ("#1f75cb", "#d99530", "#6e49cb", "#dd2b0e", "#217645")
# As in Git's own messages, and in GitLab's.
_MERGE = r"Merge (branch|branches|commit|commits|remote-tracking branch|remote-tracking branches|tag) '"


@dataclass(frozen=True)
class Approver:
    """A member who may approve merge requests."""

    id: int
    username: str


def differing(found: Fields | None, fields: Fields) -> dict[str, Any]:
    """Return those of the fields that are not found as they are wanted."""
    return {key: value for key, value in fields.items() if found is None or found.get(key) != value}


def project(policy: Policy) -> Named:
    """Return how merge requests merge.

    Source branches stay: a hotfix merges into several branches, one after the other. Messages and commits stay as they
    were written: no squashing, always a merge commit.
    """
    return {
        "project": {
            "default_branch": policy.freeze.branch,
            "merge_method": "merge",
            "squash_option": "never",
            "only_allow_merge_if_pipeline_succeeds": True,
            "allow_merge_on_skipped_pipeline": False,
            "only_allow_merge_if_all_discussions_are_resolved": True,
            "remove_source_branch_after_merge": False,
            "ci_forward_deployment_enabled": True,
            "auto_cancel_pending_pipelines": "enabled",
            # GitLab's own wording would be refused by the check of messages.
            "suggestion_commit_message": "style: apply %{suggestions_count} suggestion(s) from review",
        }
    }


def branch_protection(
    policy: Policy, branch: str, *, frozen: bool = False, with_code_owners: bool = False
) -> Protection:
    """Return how one protected branch is protected; while it is frozen nobody may merge."""
    rules = policy.protected[branch]
    return Protection(
        push=(NOBODY,),
        merge=(NOBODY if frozen else rules.merge,),
        code_owners=rules.code_owners if with_code_owners else None,
    )


def branches(policy: Policy, *, frozen: bool, with_code_owners: bool) -> Named:
    """Return the protection of every protected branch."""
    named: Named = {}
    for branch in policy.protected:
        protection = branch_protection(
            policy,
            branch,
            frozen=frozen and branch == policy.freeze.branch,
            with_code_owners=with_code_owners,
        )
        named[branch] = protection_fields(protection)
    return named


def protection_fields(protection: Protection) -> Fields:
    """Return a protection as fields that a plan compares."""
    fields = {
        "push": protection.push,
        "merge": protection.merge,
        "force push": protection.force_push,
        "code owners approve": protection.code_owners,
    }
    return {name: value for name, value in fields.items() if value is not None}


def field_protection(fields: Fields) -> Protection:
    """Return fields that a plan compares as a protection."""
    return Protection(
        fields["push"], fields["merge"], fields["force push"], fields.get("code owners approve")
    )


def tags(policy: Policy) -> Named:
    """Return the protection of tags."""
    return {pattern: {"create": ("maintainer",)} for pattern in (policy.tags.release, policy.tags.freeze)}


def approval_settings() -> Named:
    """Return what counts as an approval: somebody else's, of the newest commit."""
    return {
        "approvals": {
            "merge_requests_author_approval": False,
            "merge_requests_disable_committers_approval": True,
            "reset_approvals_on_push": True,
            "disable_overriding_approvers_per_merge_request": True,
        }
    }


def approval_rules(policy: Policy, approvers: Sequence[Approver]) -> Named:
    """Return the approval rules.

    Anybody's approval counts for what all branches ask for. GitLab has one such rule a project, so what a branch asks
    for beyond it names the people: all members who may approve.
    """
    least = min(rules.approvals for rules in policy.protected.values())
    named: Named = {ANY_APPROVER: {"approvals": least, "branches": (), "approvers": ()}}
    for branch, rules in policy.protected.items():
        if rules.approvals > least:
            named[f"{RULE_PREFIX}{branch}"] = {
                "approvals": rules.approvals,
                "branches": (branch,),
                "approvers": tuple(sorted(approver.username for approver in approvers)),
            }
    return named


def push_rules(policy: Policy) -> Named:
    """Return what GitLab refuses at a push."""
    return {
        "push rules": {
            "branch_name_regex": branch_pattern(policy),
            "commit_message_regex": message_pattern(policy),
            "prevent_secrets": True,
        }
    }


def branch_pattern(policy: Policy) -> str:
    """Return the regular expression (RE2) of branch names.

    It cannot say how long a name is: names over `names.longest` are left to the hooks and to the pipeline's policy job.
    """
    name = policy.names.pattern
    works = [
        f"{re.escape(kind)}/({name})"
        + (f"(-into-({_one_of(work.merged_back)}))?" if work.merged_back else "")
        for kind, work in policy.work.items()
    ]
    return f"^({_one_of(policy.protected)}|{'|'.join(works)})$"


def message_pattern(policy: Policy) -> str:
    r"""Return the regular expression (RE2) of commit messages.

    GitLab matches line by line, so it begins with `\A`: a word in the body is no header.
    """
    types = _one_of(policy.messages.types)
    run_tests = re.escape(policy.messages.run_tests)
    header = rf"({types})(\([a-z0-9._/-]+\))?!?: \S[^\n]*"
    return rf"\A({run_tests}\s*\z|{_MERGE}|{header}(\z|\n[^\S\n]*(\z|\n)))"


def environments(policy: Policy) -> Named:
    """Return who may deploy where, and how many approve a deployment."""
    return {
        name: {
            "deploy": (environment.deploy,),
            "approvals": (
                (f"{environment.approvals} by {environment.deploy}",) if environment.approvals else ()
            ),
        }
        for name, environment in policy.environments.items()
    }


def labels(policy: Policy) -> Named:
    """Return one label for each type of branch that merges."""
    purposes = {kind: work.purpose for kind, work in policy.work.items()} | {
        "release": "develop becomes a version"
    }
    return {
        name: {"color": _COLOURS[index % len(_COLOURS)], "description": purpose}
        for index, (name, purpose) in enumerate(purposes.items())
    }


def schedules(policy: Policy) -> Named:
    """Return what runs by the clock (UTC); the pipeline tells them apart by the variable SCHEDULE."""
    runs = {
        "drift": (policy.environments["production"].branch, "17 * * * *"),
        "retrain": (policy.freeze.branch, "23 3 * * 1"),
    }
    return {
        name: {
            "ref": ref,
            "cron": cron,
            "cron_timezone": "UTC",
            "active": True,
            "variables": {"SCHEDULE": name},
        }
        for name, (ref, cron) in runs.items()
    }


def _one_of(names: Iterable[str]) -> str:
    return "|".join(re.escape(name) for name in names)
