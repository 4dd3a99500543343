"""The variables that GitLab sets for an event, as its documentation says, and an interpreter that is missing."""

from pathlib import Path

import pytest

from cifarops.errors import UnavailableError
from cifarops.flow.event import Event
from cifarops.flow.interpreter import Interpreter


def test_a_push_has_a_branch_and_neither_tag_nor_merge_request() -> None:
    event = Event("push", "feature/Night_Vision", message="feat: see\n\nAt night.\n")
    variables = event.ci_variables()
    assert variables["CI_PIPELINE_SOURCE"] == "push"
    assert variables["CI_COMMIT_BRANCH"] == variables["CI_COMMIT_REF_NAME"] == "feature/Night_Vision"
    assert variables["CI_COMMIT_REF_SLUG"] == "feature-night-vision"
    assert (variables["CI_COMMIT_TITLE"], variables["CI_COMMIT_DESCRIPTION"]) == ("feat: see", "At night.\n")
    assert variables["CI_COMMIT_REF_PROTECTED"] == "false"
    assert event.unset_variables() == ["CI_COMMIT_TAG", "CI_OPEN_MERGE_REQUESTS"]


def test_a_push_knows_of_an_open_merge_request() -> None:
    variables = Event("push", "fix/x", merge_request=7).ci_variables()
    assert variables["CI_OPEN_MERGE_REQUESTS"].endswith("!7")
    assert "CI_MERGE_REQUEST_IID" not in variables


def test_a_merge_request_has_no_branch() -> None:
    event = Event("merge_request", "fix/x", "develop", merge_request=7)
    variables = event.ci_variables()
    assert variables["CI_PIPELINE_SOURCE"] == "merge_request_event"
    assert variables["CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"] == variables["CI_COMMIT_REF_NAME"] == "fix/x"
    assert variables["CI_MERGE_REQUEST_TARGET_BRANCH_NAME"] == "develop"
    assert variables["CI_MERGE_REQUEST_IID"] == "7"
    assert event.unset_variables() == ["CI_COMMIT_BRANCH", "CI_COMMIT_TAG"]


def test_a_tag_is_a_push_without_a_branch() -> None:
    event = Event("tag", "v1.0.0", protected=True)
    variables = event.ci_variables()
    assert (variables["CI_PIPELINE_SOURCE"], variables["CI_COMMIT_TAG"]) == ("push", "v1.0.0")
    assert variables["CI_COMMIT_REF_PROTECTED"] == "true"
    assert "CI_COMMIT_BRANCH" in event.unset_variables()


def test_a_schedule_brings_its_own_variables() -> None:
    variables = Event("schedule", "main", variables={"SCHEDULE": "drift"}).ci_variables()
    assert variables["SCHEDULE"] == "drift"
    assert (variables["CI_PIPELINE_SOURCE"], variables["CI_COMMIT_BRANCH"]) == ("schedule", "main")


def test_a_slug_is_short_and_ends_in_no_dash() -> None:
    slug = Event("push", f"feature/{'a' * 54}-b").ci_variables()["CI_COMMIT_REF_SLUG"]
    assert slug == f"feature-{'a' * 54}"


def test_a_missing_interpreter_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="interpreter is not installed") as refused:
        Interpreter(tmp_path)
    assert "make flow-tools" in refused.value.fix
