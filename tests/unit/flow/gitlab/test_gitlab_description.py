"""Our description of the API against what python-gitlab, whose authors read the same documentation, knows of it."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from gitlab.types import RequiredOptional
from gitlab.v4 import objects

DESCRIPTION = Path(__file__).parents[3] / "flow" / "openapi" / "gitlab.yaml"
BASE = "/api/v4/projects/{id}"
SCHEDULE = "/pipeline_schedules/{pipeline_schedule_id}"
# In GitLab's documentation, but not in python-gitlab.
UNKNOWN_TO_THE_LIBRARY = {"rule_type"}

BODIES: list[tuple[str, str, RequiredOptional]] = [
    ("put", "", objects.ProjectManager._update_attrs),
    ("post", "/repository/tags", objects.ProjectTagManager._create_attrs),
    ("post", "/protected_branches", objects.ProjectProtectedBranchManager._create_attrs),
    ("post", "/protected_tags", objects.ProjectProtectedTagManager._create_attrs),
    ("post", "/approvals", objects.ProjectApprovalManager._update_attrs),
    ("post", "/approval_rules", objects.ProjectApprovalRuleManager._create_attrs),
    ("post", "/push_rule", objects.ProjectPushRulesManager._create_attrs),
    ("put", "/push_rule", objects.ProjectPushRulesManager._update_attrs),
    ("post", "/protected_environments", objects.ProjectProtectedEnvironmentManager._create_attrs),
    ("post", "/labels", objects.ProjectLabelManager._create_attrs),
    ("post", "/pipeline_schedules", objects.ProjectPipelineScheduleManager._create_attrs),
    ("put", SCHEDULE, objects.ProjectPipelineScheduleManager._update_attrs),
    ("post", f"{SCHEDULE}/variables", objects.ProjectPipelineScheduleVariableManager._create_attrs),
    ("post", "/merge_requests", objects.ProjectMergeRequestManager._create_attrs),
    (
        "post",
        "/merge_requests/{merge_request_iid}/notes",
        objects.ProjectMergeRequestNoteManager._create_attrs,
    ),
    ("post", "/releases", objects.ProjectReleaseManager._create_attrs),
    ("put", "/releases/{tag_name}", objects.ProjectReleaseManager._update_attrs),
    ("post", "/releases/{tag_name}/assets/links", objects.ProjectReleaseLinkManager._create_attrs),
]


@pytest.fixture(scope="module")
def description() -> Any:
    return yaml.safe_load(DESCRIPTION.read_text())


@pytest.mark.parametrize(("verb", "path", "known"), BODIES, ids=[f"{verb}{path}" for verb, path, _ in BODIES])
def test_parameters_are_those_that_the_library_knows(
    description: Any, verb: str, path: str, known: RequiredOptional
) -> None:
    body = description["paths"][BASE + path][verb]["requestBody"]
    if "$ref" in body:
        body = description["components"]["requestBodies"][body["$ref"].rpartition("/")[2]]
    schema = body["content"]["application/json"]["schema"]
    assert set(schema["properties"]) <= {*known.required, *known.optional, *UNKNOWN_TO_THE_LIBRARY}
    assert set(known.required) <= set(schema.get("required", ()))


def test_a_parameter_that_gitlab_would_ignore_is_refused(description: Any) -> None:
    bodies = [
        operation["requestBody"]["content"]["application/json"]["schema"]
        for path in description["paths"].values()
        for operation in path.values()
        if isinstance(operation, dict)
        and "application/json" in operation.get("requestBody", {}).get("content", {})
    ]
    assert bodies
    assert all(schema["additionalProperties"] is False for schema in bodies)
