"""One definition and one pin of each linter, for hooks, Makefile and pipeline."""

import re

import pytest
import yaml

from tests.support.clones import ROOT

HOOKS = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
PIPELINE = [ROOT / ".gitlab-ci.yml", *sorted((ROOT / "ci").glob("*.yml"))]


@pytest.mark.promise("B2")
def test_every_hook_is_a_program_of_the_projects_own_environment() -> None:
    hooks = [hook for repository in HOOKS["repos"] for hook in repository["hooks"]]
    assert {repository["repo"] for repository in HOOKS["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    assert all(hook["entry"].startswith("ci/in-venv ") for hook in hooks)
    assert (ROOT / "ci/in-venv").stat().st_mode & 0o111
    stages = {hook["id"]: hook.get("stages", HOOKS["default_stages"]) for hook in hooks}
    assert stages["ruff"] == stages["black"] == ["pre-commit", "pre-push"]


@pytest.mark.promise("B2")
def test_makefile_and_pipeline_run_the_hooks() -> None:
    run = "pre-commit run --all-files"
    assert run in (ROOT / "Makefile").read_text()
    assert [path.name for path in PIPELINE if run in path.read_text()] == ["checks.yml"]


@pytest.mark.promise("B2")
@pytest.mark.parametrize("tool", ["ruff", "black", "pre_commit"])
def test_a_linter_is_pinned_once(tool: str) -> None:
    pins = re.findall(rf"(?m)^{tool}==\S+$", (ROOT / "constraints.txt").read_text())
    assert len(pins) == 1
    others = [*(ROOT / name for name in (".pre-commit-config.yaml", "pyproject.toml", "Makefile")), *PIPELINE]
    assert [path.name for path in others if re.search(rf"{tool}\W*[=~<>]=", path.read_text())] == []
