"""The scripts that the pipeline's jobs source, run by the shell that runs jobs."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUNNER = {"CIFAROPS_WORKSPACE": "/srv/workspace", "CIFAROPS_VENV": "/srv/venv"}


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A PATH with no more on it than the container of a stock runner has, where installing is written down instead."""
    for program in ("bash", "id", "ln", "make"):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    (tmp_path / "dpkg").write_text("#!/bin/bash\nexit 1\n")
    (tmp_path / "apt-get").write_text('#!/bin/bash\necho "$*" >&2\n')
    for program in ("dpkg", "apt-get"):
        (tmp_path / program).chmod(0o755)
    return tmp_path


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


def test_a_container_without_a_builder_of_images_gets_one(bare: Path) -> None:
    job = sourced("builder-in-job.sh", {"PATH": str(bare)}, "$BUILDAH_ISOLATION $STORAGE_DRIVER")
    assert job.stdout == "chroot vfs\n"
    assert job.stderr.splitlines()[-1].endswith("--no-install-recommends buildah")


def test_a_runner_that_has_a_builder_is_left_as_it_is(bare: Path) -> None:
    (bare / "podman").symlink_to("/usr/bin/true")
    job = sourced("builder-in-job.sh", {"PATH": str(bare)}, "${BUILDAH_ISOLATION:-its own}")
    assert (job.stdout, job.stderr) == ("its own\n", "")
