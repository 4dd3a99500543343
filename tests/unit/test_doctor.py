from pathlib import Path

import pytest

from cifarops.doctor import examine
from cifarops.settings import Settings


def _settings(workspace: Path) -> Settings:
    return Settings.from_environment({"CIFAROPS_WORKSPACE": str(workspace)})


def test_it_looks_at_everything_the_main_job_needs(tmp_path: Path) -> None:
    names = {check.name for check in examine(_settings(tmp_path))}
    assert {"Python", "cores", "memory", "bfloat16", "workspace", "torch", "git", "nvidia-smi"} <= names


def test_a_program_that_is_not_there_is_missing_only_if_the_main_job_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    states = {check.name: check.state for check in examine(_settings(tmp_path))}
    assert states["git"] == "missing"
    assert states["podman"] == "absent"


def test_a_program_that_hangs_or_breaks_is_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "git"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = {check.name: check.found for check in examine(_settings(tmp_path))}
    assert found["git"] == "found, but does not answer"
