"""The plan and its application, against a GitLab whose calls and answers are checked."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from cifarops.errors import UnavailableError, UsageError
from cifarops.flow.gitlab.access import Access
from cifarops.flow.gitlab.client import Client, GitLabError
from cifarops.flow.gitlab.plan import Change, apply, make_plan
from cifarops.flow.policy import POLICY, Policy, load_policy
from cifarops.flow.rules import may_merge, may_push
from tests.support.gitlab_routes import protect_branch
from tests.support.gitlab_server import DEVELOPER_TOKEN
from tests.support.gitlab_state import PROJECT, Fault, GitLab

pytestmark = pytest.mark.flow
WRITING = ("POST", "PUT", "PATCH", "DELETE")
premium_only = pytest.mark.parametrize("gitlab", ["premium"], indirect=True)
free_only = pytest.mark.parametrize("gitlab", ["free"], indirect=True)


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(Path(__file__).parents[3] / POLICY)


def written(gitlab: GitLab) -> list[str]:
    return [call for call in gitlab.calls if call.startswith(WRITING)]


def summary(changes: tuple[Change, ...]) -> set[tuple[str, str, str]]:
    return {(change.action, change.kind, change.name) for change in changes}


def allow(gitlab: GitLab, name: str, *, push: int, merge: int) -> None:
    """Protect a branch by hand, as somebody with a browser does."""
    arguments = {"name": name, "push_access_level": push, "merge_access_level": merge}
    protect_branch(gitlab, arguments=arguments, role=40)


@pytest.mark.promise("A2")
def test_a_plan_changes_nothing_and_an_application_leaves_nothing_to_do(
    client: Client, gitlab: GitLab, policy: Policy
) -> None:
    plan = make_plan(client, policy)
    assert plan.changes
    assert not written(gitlab)

    applied = apply(client, policy)
    assert applied.changes == plan.changes
    assert applied.remaining.changes == ()

    gitlab.calls.clear()
    assert apply(client, policy).changes == ()
    assert not written(gitlab)


@pytest.mark.promise("B4", "B9", "B12")
def test_after_it_nobody_pushes_and_the_right_people_merge(
    client: Client, gitlab: GitLab, policy: Policy
) -> None:
    apply(client, policy)
    roles = {"developer": 30, "maintainer": 40}
    for branch, rules in policy.protected.items():
        assert not may_push(policy, branch).allowed
        assert gitlab.may(branch, "push") == 0
        assert gitlab.may(branch, "merge") == roles[rules.merge]
    assert not any(each["allow_force_push"] for each in gitlab.protected_branches)
    assert {tag["name"] for tag in gitlab.protected_tags} == {policy.tags.release, policy.tags.freeze}


@premium_only
@pytest.mark.promise("B6", "B12")
def test_premium_asks_for_the_approvals_of_each_branch(
    client: Client, gitlab: GitLab, policy: Policy
) -> None:
    plan = apply(client, policy).remaining
    assert not plan.gaps
    assert not plan.notes
    for branch, rules in policy.protected.items():
        asked = [
            rule["approvals_required"]
            for rule in gitlab.approval_rules
            if not rule["protected_branches"]
            or branch in [each["name"] for each in rule["protected_branches"]]
        ]
        assert max(asked) == rules.approvals
    (main,) = (rule for rule in gitlab.approval_rules if rule["rule_type"] == "regular")
    assert [user["username"] for user in main["users"]] == ["ada", "bob", "cleo"]  # no guest, no robot
    assert all(each["code_owner_approval_required"] for each in gitlab.protected_branches)
    assert not gitlab.approvals["merge_requests_author_approval"]
    assert gitlab.push_rule is not None


@free_only
@pytest.mark.promise("B1", "B6")
def test_free_says_what_it_does_not_enforce_and_what_does_instead(
    client: Client, gitlab: GitLab, policy: Policy
) -> None:
    plan = apply(client, policy).remaining
    assert plan.changes == ()
    assert {promise for gap in plan.gaps for promise in gap.promises} == {"B1", "B6", "B11", "B12", "B13"}
    assert gitlab.push_rule is None
    assert gitlab.approval_rules == []
    assert gitlab.project["only_allow_merge_if_pipeline_succeeds"] is True


# Each spoils what was applied; the plan must see it, and the next application put it right.
DRIFTS: dict[str, tuple[Any, set[tuple[str, str, str]]]] = {
    "pushing allowed": (
        lambda gitlab: gitlab.protected_branches[0]["push_access_levels"][0].update(access_level=40),
        {("change", "protected branch", "develop")},
    ),
    "a wildcard that lets developers push": (
        lambda gitlab: allow(gitlab, "*", push=30, merge=30),
        {("remove", "protected branch", "*")},
    ),
    "unprotected": (
        lambda gitlab: gitlab.protected_branches.pop(),
        {("create", "protected branch", "main")},
    ),
    "tags by developers": (
        lambda gitlab: gitlab.protected_tags[0]["create_access_levels"][0].update(access_level=30),
        {("change", "protected tag", "v*")},
    ),
    "pipelines need not succeed": (
        lambda gitlab: gitlab.project.update(
            only_allow_merge_if_pipeline_succeeds=False, squash_option="always"
        ),
        {("change", "project setting", "project")},
    ),
    "a label of another colour": (
        lambda gitlab: gitlab.labels[0].update(color="#000000"),
        {("change", "label", "feature")},
    ),
    "a schedule on another branch, with another variable": (
        lambda gitlab: gitlab.pipeline_schedules[0].update(
            ref="refs/heads/develop", variables=[{"key": "SCHEDULE", "value": "retrain"}]
        ),
        {("change", "schedule", "drift")},
    ),
    "a schedule switched off": (
        lambda gitlab: gitlab.pipeline_schedules[1].update(active=False),
        {("change", "schedule", "retrain")},
    ),
}


@pytest.mark.promise("A2")
@pytest.mark.parametrize(("spoil", "expected"), DRIFTS.values(), ids=DRIFTS)
def test_drift_is_seen_and_put_right(
    client: Client, gitlab: GitLab, policy: Policy, spoil: Any, expected: set[tuple[str, str, str]]
) -> None:
    apply(client, policy)
    spoil(gitlab)
    assert summary(make_plan(client, policy).changes) >= expected
    applied = apply(client, policy)
    assert applied.remaining.changes == ()
    assert gitlab.may("develop", "push") == gitlab.may("main", "push") == 0


PREMIUM_DRIFTS: dict[str, tuple[Any, tuple[str, str, str]]] = {
    "authors approve their own": (
        lambda gitlab: gitlab.approvals.update(merge_requests_author_approval=True),
        ("change", "approval setting", "approvals"),
    ),
    "fewer approvals": (
        lambda gitlab: gitlab.approval_rules[1].update(approvals_required=1),
        ("change", "approval rule", "cifarops main"),
    ),
    "a new colleague": (
        lambda gitlab: gitlab.members.append(
            {"id": 9, "username": "dora", "name": "Dora", "state": "active", "access_level": 30}
        ),
        ("change", "approval rule", "cifarops main"),
    ),
    "a rule of ours for no branch": (
        lambda gitlab: gitlab.approval_rules.append(
            {**gitlab.approval_rules[1], "id": 900, "name": "cifarops staging"}
        ),
        ("remove", "approval rule", "cifarops staging"),
    ),
    "no code owners": (
        lambda gitlab: gitlab.protected_branches[0].update(code_owner_approval_required=False),
        ("change", "protected branch", "develop"),
    ),
    "any branch name": (
        lambda gitlab: gitlab.push_rule.update(branch_name_regex=""),
        ("change", "push rule", "push rules"),
    ),
    "developers deploy": (
        lambda gitlab: gitlab.protected_environments[0]["deploy_access_levels"][0].update(access_level=30),
        ("change", "protected environment", "staging"),
    ),
    "no approval of deployments": (
        lambda gitlab: gitlab.protected_environments[1].update(approval_rules=[]),
        ("change", "protected environment", "production"),
    ),
}


@premium_only
@pytest.mark.parametrize(("spoil", "expected"), PREMIUM_DRIFTS.values(), ids=PREMIUM_DRIFTS)
def test_drift_of_what_premium_has_is_seen_and_put_right(
    client: Client, gitlab: GitLab, policy: Policy, spoil: Any, expected: tuple[str, str, str]
) -> None:
    apply(client, policy)
    spoil(gitlab)
    assert summary(make_plan(client, policy).changes) == {expected}
    assert apply(client, policy).remaining.changes == ()


@pytest.mark.promise("B8")
def test_a_frozen_branch_stays_locked(client: Client, gitlab: GitLab, policy: Policy) -> None:
    gitlab.tags["freeze/develop"] = "{}"
    plan = apply(client, policy).remaining
    assert plan.frozen == "develop"
    assert plan.changes == ()
    assert gitlab.may("develop", "merge") == 0
    assert gitlab.may("main", "merge") == 40


def test_settings_that_are_nobodys_business_stay(client: Client, gitlab: GitLab, policy: Policy) -> None:
    allow(gitlab, "docs/*", push=30, merge=30)
    gitlab.labels.append({"id": 1, "name": "mine", "color": "#ABCDEF", "description": None})
    apply(client, policy)
    assert "docs/*" in [each["name"] for each in gitlab.protected_branches]
    assert gitlab.labels[0]["name"] == "mine"


def test_an_application_that_is_cut_off_goes_on_where_it_was(
    client: Client, gitlab: GitLab, policy: Policy
) -> None:
    gitlab.faults.append(Fault("PUT ", 400))
    with pytest.raises(GitLabError, match="400"):
        apply(client, policy)
    done = len(written(gitlab)) - 1
    assert gitlab.may("main", "push") == 0  # what keeps people out came first
    applied = apply(client, policy)
    assert len(applied.changes) + done > len(applied.changes)
    assert applied.remaining.changes == ()


def test_the_settings_agree_with_the_rules_for_every_pair(
    client: Client, gitlab: GitLab, policy: Policy
) -> None:
    """Who may merge is a matter of target and role in GitLab; sources are left to the pipeline, which must succeed."""
    apply(client, policy)
    sources = ["feature/x", "fix/x", "experiment/x", "hotfix/x", "hotfix/x-into-develop", *policy.protected]
    for source, target in itertools.product(sources, policy.protected):
        if may_merge(policy, source, target).allowed:
            assert gitlab.may(target, "merge") in (30, 40)
        else:
            assert gitlab.project["only_allow_merge_if_pipeline_succeeds"] is True
            assert gitlab.project["allow_merge_on_skipped_pipeline"] is False
        assert gitlab.may(target, "push") == 0


def test_too_few_people_for_the_approvals_are_told(client: Client, gitlab: GitLab, policy: Policy) -> None:
    del gitlab.members[1:3]
    notes = make_plan(client, policy).notes
    assert bool(notes) == (gitlab.tier == "premium")
    assert all("1 member(s) may approve" in note for note in notes)


def test_branches_that_are_not_there_are_named_before_anything_changes(
    client: Client, gitlab: GitLab, policy: Policy
) -> None:
    gitlab.branches = ["main"]
    with pytest.raises(UsageError, match="develop and no branch release") as caught:
        apply(client, policy)
    assert "git push origin HEAD:refs/heads/develop HEAD:refs/heads/release" in caught.value.fix
    assert not written(gitlab)


def test_a_token_without_rights_is_refused_before_anything_changes(
    url: str, gitlab: GitLab, policy: Policy
) -> None:
    client = Client(Access(url, PROJECT, DEVELOPER_TOKEN, is_job_token=False))
    with pytest.raises(GitLabError, match="role") as caught:
        apply(client, policy)
    assert "Maintainer" in caught.value.fix
    assert not written(gitlab)


def test_the_proxy_refuses_a_call_and_an_answer_that_are_not_as_described(
    client: Client, gitlab: GitLab
) -> None:
    with pytest.raises(GitLabError, match="422"):
        client.post("labels", {"name": "no colour"})
    assert gitlab.calls == []
    gitlab.project["merge_method"] = "octopus"
    with pytest.raises(UnavailableError, match="500"):
        client.get()
