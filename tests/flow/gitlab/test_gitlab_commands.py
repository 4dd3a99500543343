"""`cifarops flow gitlab` as a person or a job runs it: real processes in a clone whose remote is the GitLab."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cifarops.flow.git import Git
from cifarops.flow.policy import POLICY
from tests.support.gitlab_routes import open_merge_request
from tests.support.gitlab_server import DEVELOPER_TOKEN, MAINTAINER_TOKEN
from tests.support.gitlab_state import PROJECT, GitLab

pytestmark = pytest.mark.flow
ROOT = Path(__file__).parents[3]
ISOLATED = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture
def clone(tmp_path: Path, url: str) -> Path:
    git = Git(tmp_path, ISOLATED)
    git("init", "--quiet", "--initial-branch=develop")
    git("remote", "add", "origin", f"{url}/{PROJECT}.git")
    shutil.copy(ROOT / POLICY, tmp_path)
    return tmp_path


def run(clone: Path, *arguments: str, token: str = MAINTAINER_TOKEN) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CI", "GITLAB"))}
    answer = subprocess.run(
        [sys.executable, "-m", "cifarops.cli.main", "flow", "gitlab", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=clone,
        env={**clean, **ISOLATED, "COLUMNS": "200", "CIFAROPS_GITLAB_TOKEN": token},
    )
    assert "glpat-" not in answer.stdout + answer.stderr
    return answer


@pytest.mark.promise("A2")
def test_plan_apply_and_nothing_more(clone: Path, gitlab: GitLab) -> None:
    drift = run(clone, "plan", "--check", "--json")
    assert drift.returncode == 1
    document = json.loads(drift.stdout)
    assert document["project"] == PROJECT
    assert {"action": "create", "kind": "protected branch", "name": "main"}.items() <= document["changes"][
        2
    ].items()
    assert [each["promises"] for each in document["gaps"]] == (
        [["B6", "B12"], ["B1"], ["B11", "B13"]] if gitlab.tier == "free" else []
    )

    applied = run(clone, "apply")
    assert applied.returncode == 0, applied.stderr
    assert "create protected branch main" in applied.stdout
    assert ("This server lacks push rules" in " ".join(applied.stderr.split())) == (gitlab.tier == "free")

    again = run(clone, "apply", "--json")
    assert json.loads(again.stdout)["changes"] == []
    assert run(clone, "plan", "--check").returncode == 0


@pytest.mark.parametrize("gitlab", ["free"], indirect=True)
def test_the_files_are_written_once(clone: Path, gitlab: GitLab) -> None:
    assert run(clone, "files", "--check").returncode == 1
    assert run(clone, "files").returncode == 0
    assert run(clone, "files", "--check", "--json").stdout.split() == ["{", '"differing":', "[]", "}"]


@pytest.mark.promise("B6")
@pytest.mark.parametrize("gitlab", ["free"], indirect=True)
def test_a_job_fails_until_there_are_enough_approvals(clone: Path, gitlab: GitLab) -> None:
    arguments = {"source_branch": "feature/x", "target_branch": "develop", "title": "feat: x"}
    open_merge_request(gitlab, arguments=arguments, role=30)
    refused = run(clone, "approved", "1")
    assert refused.returncode == 1
    assert "0 of 1 approvals" in refused.stderr
    gitlab.approved_by[1] = ["bob"]
    assert run(clone, "approved", "1").returncode == 0
    assert run(clone, "approved", "7").returncode == 1


@pytest.mark.parametrize("gitlab", ["free"], indirect=True)
@pytest.mark.parametrize(
    ("token", "code", "said"),
    [("", 2, "There is no GitLab token"), ("glpat-unknown", 1, "401"), (DEVELOPER_TOKEN, 1, "role")],
)
def test_a_token_that_does_not_do_is_told(
    clone: Path, gitlab: GitLab, token: str, code: int, said: str
) -> None:
    answer = run(clone, "plan", "--json", token=token)
    assert answer.returncode == code
    assert said in json.loads(answer.stdout)["error"]
    assert "CIFAROPS_GITLAB_TOKEN" in json.loads(answer.stdout)["fix"]
