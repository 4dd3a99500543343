"""The contract of the pipeline: exactly which jobs an event makes, as the interpreter reads .gitlab-ci.yml."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cifarops.flow.event import Event
from cifarops.flow.policy import load_policy
from tests.support.pipeline import INTO_DEVELOP, ROOT, Case, cases, definitions_of, interpreter, jobs_table

pytestmark = pytest.mark.flow
POLICY = load_policy(ROOT / "policy.yaml")
MANUAL = {"review", "stop-review", "stop-staging", "rollback-production"}
LOOKS_ONLY = {"drift-check"}
# What else is changed by one job at a time: what a release is made from, the freeze, tags and branches.
SERIAL = {"candidate", "build", "pin", "retrain", "unfreeze", "release", "backmerge", "rehearsal"}


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    return definitions_of(ROOT)


@pytest.fixture(scope="module")
def definitions(pipeline: dict[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in pipeline.items() if isinstance(each, dict) and "script" in each}


@pytest.mark.promise("B2", "B3", "B5", "B7", "B13", "B15", "A3")
@pytest.mark.parametrize("case", list(cases()), ids=str)
def test_an_event_makes_exactly_these_jobs(case: Case) -> None:
    jobs = interpreter().jobs(ROOT, case.event)
    assert {job.name for job in jobs} == set(case.jobs)
    assert len(jobs) == len(case.jobs)
    for job in jobs:
        assert job.when == ("manual" if job.name in MANUAL else "on_success"), job
        assert job.allow_failure == (job.name in MANUAL), job


@pytest.mark.promise("A2")
@pytest.mark.parametrize("target", POLICY.protected)
def test_the_checks_of_the_policy_are_the_jobs_of_a_merge_request(target: str) -> None:
    source = next(kind for kind in POLICY.protected[target].accepts)
    branch = f"{source}/x" if source in POLICY.work else source
    jobs = interpreter().jobs(ROOT, Event("merge_request", branch, target))
    assert {job.name for job in jobs} == set(POLICY.protected[target].checks)


@pytest.mark.promise("A2")
def test_the_pipeline_knows_the_branches_of_the_policy(pipeline: dict[str, Any]) -> None:
    variables = pipeline["variables"]
    assert variables["WORK_BRANCH"] == rf"/^({'|'.join(POLICY.work)})\/{POLICY.names.pattern}$/"
    assert variables["PROTECTED_BRANCH"] == f"/^({'|'.join(POLICY.protected)})$/"
    rules = pipeline["unit"]["rules"]
    assert rf"/\A{POLICY.messages.run_tests}\s*\z/" in rules[0]["if"]


@pytest.mark.promise("A2", "B11", "B12")
def test_the_environments_are_those_of_the_policy(definitions: dict[str, Any]) -> None:
    for name, environment in POLICY.environments.items():
        job = definitions[f"deploy-{name}"]
        assert job["environment"]["name"] == name
        assert job["environment"]["url"] == environment.url
        assert [rule["if"] for rule in job["rules"]] == [
            f'$CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == "{environment.branch}"'
        ]


@pytest.mark.promise("A3")
def test_no_job_runs_for_a_push_and_again_for_the_open_merge_request() -> None:
    for case in cases():
        if case.event.source == "push" and case.event.merge_request:
            assert not set(case.jobs) & set(INTO_DEVELOP), case


def test_what_changes_an_environment_runs_alone_and_everything_else_can_be_interrupted(
    definitions: dict[str, Any],
) -> None:
    default = (ROOT / ".gitlab-ci.yml").read_text().partition("\ndefault:\n")[2].partition("\n\n")[0]
    assert "  interruptible: true\n" in default
    for name, job in definitions.items():
        alone = name in SERIAL or ("environment" in job and name not in LOOKS_ONLY)
        assert bool(job.get("resource_group")) == alone, name
        assert job.get("interruptible", True) is not alone, name
        if job.get("environment", {"action": "none"}).get("action", "start") == "start":
            assert job["environment"]["url"], name
    for stopper in ("stop-staging", "stop-review"):
        environment = definitions[stopper]["environment"]
        assert environment["action"] == "stop"
        starters = [
            job for job in definitions.values() if job.get("environment", {}).get("on_stop") == stopper
        ]
        assert [job["environment"]["name"] for job in starters] == [environment["name"]]
        assert all(job["rules"] == definitions[stopper]["rules"] for job in starters)


def test_every_artifact_says_how_long_it_is_kept(definitions: dict[str, Any]) -> None:
    for name, job in definitions.items():
        if "artifacts" in job:
            assert job["artifacts"]["expire_in"], name
    for name in ("unit", "integration"):
        reports = definitions[name]["artifacts"]["reports"]
        assert reports["junit"]
        assert reports["coverage_report"]["path"]
    assert definitions["model-report"]["artifacts"]["reports"]["metrics"]


@pytest.mark.promise("S3")
def test_the_file_and_what_it_includes_fit_gitlabs_schema() -> None:
    checker = Path(sys.executable).parent / "check-jsonschema"
    files = [ROOT / ".gitlab-ci.yml", *sorted((ROOT / "ci").glob("*.yml"))]
    answer = subprocess.run(
        [checker, "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_documentation_shows_this_contract() -> None:
    assert jobs_table() in (ROOT / "docs" / "how-to" / "pipeline.md").read_text()
