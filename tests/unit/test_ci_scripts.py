"""The scripts that the pipeline's jobs source, run by the shell that runs jobs."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNNER = {"CIFAROPS_WORKSPACE": "/srv/workspace", "CIFAROPS_VENV": "/srv/venv"}


def sourced(script: str, variables: dict[str, str], told: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", f". ci/{script}\necho {told}"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_runner_that_keeps_the_workspace_is_let_through() -> None:
    assert sourced("workspace.sh", RUNNER, "went on").stdout == "went on\n"


@pytest.mark.parametrize("missing", RUNNER)
@pytest.mark.parametrize("value", [None, ""])
def test_a_runner_whose_checkout_would_hold_state_is_refused(missing: str, value: str | None) -> None:
    variables = {name: kept for name, kept in RUNNER.items() if name != missing}
    refused = sourced("workspace.sh", variables if value is None else variables | {missing: value}, "went on")
    assert (refused.returncode != 0, refused.stdout) == (True, "")
    assert f"{missing}: is not set on this runner. do: " in refused.stderr


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ({}, ""),
        ({"CIFAROPS_NOTES_TOKEN": "notes"}, "notes"),
        ({"CIFAROPS_GITLAB_TOKEN": "all", "CIFAROPS_NOTES_TOKEN": "notes"}, "all"),
    ],
)
def test_a_pipeline_without_the_protected_token_writes_notes_with_the_other(
    given: dict[str, str], used: str
) -> None:
    job = sourced("setup.sh", RUNNER | given, '"token=$CIFAROPS_GITLAB_TOKEN"')
    assert job.stdout == f"token={used}\n"
