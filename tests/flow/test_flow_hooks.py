"""The real hooks, set up by `cifarops flow install`, in real clones; the remote refuses nothing, so that the hooks must."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from cifarops.errors import ConflictError, UsageError
from cifarops.flow.git import Git
from cifarops.flow.install import install
from tests.support.clones import person

pytestmark = pytest.mark.flow

ROOT = Path(__file__).parents[2]
FILES = ("policy.yaml", ".pre-commit-config.yaml", "ci/in-venv", "pyproject.toml", "constraints.txt")
PASSING = '"""A test."""\n\n\ndef test_sum() -> None:\n    """It adds."""\n    assert 1 + 1 == 2\n'
FAILING = PASSING.replace("== 2", "== 3")


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A clone, on branch feature/x, of a project with the real configuration and one unit test; hooks installed."""
    # PATH holds git and nothing of the project: hooks must find its programs by themselves.
    programs = f"{Path(shutil.which('git') or 'git').parent}:/usr/bin:/bin"
    environment = person("ada") | {"PATH": programs, "PRE_COMMIT_HOME": str(tmp_path / "cache")}
    outside = Git(tmp_path, environment)
    outside("init", "--quiet", "--bare", "--initial-branch=main", "remote.git")
    outside("clone", "--quiet", "remote.git", "clone")
    git = Git(tmp_path / "clone", environment)
    git("switch", "--quiet", "--create", "main")
    for name in FILES:
        put(git, name, (ROOT / name).read_text())
    (git.root / "ci/in-venv").chmod(0o755)
    put(git, "tests/unit/test_small.py", PASSING)
    git("add", ".")
    git("commit", "--quiet", "--message", "feat: begin")
    git("push", "--quiet", "origin", "main", "main:develop")
    git("switch", "--quiet", "--create", "feature/x")
    install(git)
    return git


def put(git: Git, name: str, text: str) -> None:
    path = git.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def commit(
    git: Git, name: str, text: str, message: str = "feat: a thing", *flags: str
) -> subprocess.CompletedProcess[str]:
    put(git, name, text)
    git("add", name)
    return git.run("commit", "--message", message, *flags)


def push(git: Git, *refspecs: str) -> subprocess.CompletedProcess[str]:
    return git.run("push", "origin", *refspecs)


def remote_has(git: Git, branch: str) -> bool:
    return bool(git("ls-remote", "origin", f"refs/heads/{branch}"))


# --- commits


@pytest.mark.promise("B2")
@pytest.mark.parametrize(
    ("text", "said"),
    [("import os\n", "F401"), ('"""A module."""\n\nx = { "a":1 }\n', "would reformat")],
    ids=["Ruff", "Black"],
)
def test_style_is_checked_on_commit(git: Git, text: str, said: str) -> None:
    before = git.commit()
    result = commit(git, "src/a.py", text)
    assert result.returncode == 1
    assert said in result.stderr + result.stdout
    assert git.commit() == before


def test_a_good_commit_passes(git: Git) -> None:
    result = commit(git, "src/a.py", '"""A module."""\n\nx = {"a": 1}\n')
    assert result.returncode == 0, result.stderr
    assert push(git, "feature/x").returncode == 0
    assert remote_has(git, "feature/x")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("big.csv", "0," * 300_000, "600,000 bytes"),
        ("settings.py", "KEY = 'AKIA" + "IOSFODNN7EXAMPL3'\n", "looks like an AWS key"),
        ("a.ipynb", json.dumps({"cells": [{"outputs": [1]}]}), "cells 1"),
    ],
    ids=["large", "secret", "notebook"],
)
def test_files_are_checked_on_commit(git: Git, name: str, text: str, said: str) -> None:
    result = commit(git, name, text)
    assert result.returncode == 1
    assert said in result.stderr + result.stdout


@pytest.mark.promise("B1")
def test_a_badly_named_branch_takes_no_commit(git: Git) -> None:
    git("switch", "--quiet", "--create", "Feature/Foo_Bar")
    result = commit(git, "a.txt", "a\n")
    assert result.returncode == 1
    assert "git branch -m feature/foo-bar" in result.stderr + result.stdout
    git("branch", "--move", "feature/foo-bar")
    assert commit(git, "a.txt", "a\n").returncode == 0


@pytest.mark.promise("B4", "B12")
def test_a_protected_branch_takes_no_commit(git: Git) -> None:
    git("switch", "--quiet", "main")
    result = commit(git, "a.txt", "a\n")
    assert result.returncode == 1
    assert "main is protected" in result.stderr + result.stdout


@pytest.mark.promise("B3")
def test_messages_are_checked(git: Git) -> None:
    assert commit(git, "a.txt", "a\n", "did something").returncode == 1
    assert commit(git, "a.txt", "a\n", "do not run tests").returncode == 1
    assert commit(git, "a.txt", "a\n", "run tests").returncode == 0


def test_a_merge_commit_is_admitted(git: Git) -> None:
    git("switch", "--quiet", "--create", "fix/y", "main")
    assert commit(git, "b.txt", "b\n").returncode == 0
    result = git.run("merge", "--no-edit", "feature/x", "-Xours")
    assert result.returncode == 0, result.stderr
    git("switch", "--quiet", "feature/x")
    result = git.run("merge", "--no-edit", "fix/y")
    assert result.returncode == 0, result.stderr
    assert len(git("log", "-1", "--format=%P").split()) == 2, "the clone merges with merge commits"


def test_worktrees_have_the_hooks(git: Git, tmp_path: Path) -> None:
    git("worktree", "add", "--quiet", "-b", "fix/z", str(tmp_path / "tree"), "main")
    tree = Git(tmp_path / "tree", git.environment)
    assert commit(tree, "src/a.py", "import os\n").returncode == 1
    assert {step.state for step in install(tree)} == {"already"}


# --- pushes


@pytest.mark.promise("B2")
def test_what_is_pushed_is_checked_again(git: Git) -> None:
    assert commit(git, "src/a.py", "import os\n", "feat: a", "--no-verify").returncode == 0
    result = push(git, "feature/x")
    assert result.returncode == 1
    assert "F401" in result.stderr + result.stdout
    assert not remote_has(git, "feature/x")


@pytest.mark.promise("B1", "B4")
@pytest.mark.parametrize(
    ("refspec", "said"),
    [
        ("HEAD:Bad_Name", "feature/bad-name"),
        ("HEAD:develop", "develop is protected"),
        (":main", "main is protected"),
    ],
)
def test_every_branch_of_a_push_is_checked_not_only_the_first(git: Git, refspec: str, said: str) -> None:
    assert commit(git, "a.txt", "a\n").returncode == 0
    result = push(git, "feature/x", refspec)
    assert result.returncode == 1
    assert said in result.stderr + result.stdout
    assert not remote_has(git, "feature/x")


@pytest.mark.promise("B3")
def test_run_tests_runs_the_unit_tests_of_what_is_pushed(git: Git) -> None:
    assert commit(git, "tests/unit/test_small.py", FAILING, "run tests").returncode == 0
    put(git, "tests/unit/test_small.py", PASSING)  # corrected, and not committed
    result = push(git, "feature/x")
    assert result.returncode == 1
    assert "1 failed" in result.stdout + result.stderr
    assert not remote_has(git, "feature/x")
    assert commit(git, "tests/unit/test_small.py", PASSING, "run tests").returncode == 0
    result = push(git, "feature/x")
    assert result.returncode == 0, result.stderr
    assert "1 passed" in result.stdout + result.stderr
    assert remote_has(git, "feature/x")


@pytest.mark.promise("B3")
def test_other_messages_run_no_tests(git: Git) -> None:
    message = "feat: a thing\n\nrun tests"
    assert commit(git, "tests/unit/test_small.py", FAILING, message).returncode == 0
    result = push(git, "feature/x")
    assert result.returncode == 0, result.stderr
    assert "failed" not in result.stdout + result.stderr


# --- setting up


def test_setting_up_again_changes_nothing(git: Git) -> None:
    hooks = {path: path.read_bytes() for path in (git.root / ".git/hooks").iterdir()}
    assert {step.state for step in install(git)} == {"already"}
    assert hooks == {path: path.read_bytes() for path in (git.root / ".git/hooks").iterdir()}
    assert git("config", "merge.ff") == "false"


def test_setting_up_says_which_program_is_missing_or_of_another_version(git: Git) -> None:
    pins = git.root / "constraints.txt"
    pins.write_text(pins.read_text().replace("ruff==", "ruff==0.0.1+"))
    (step,) = [step for step in install(git) if step.state == "missing"]
    assert step.what.startswith("ruff 0.0.1+")
    assert step.fix == "make install"


def test_hooks_of_others_are_left_alone(git: Git) -> None:
    for name in ("pre-push", "pre-push.legacy"):
        hook = git.root / ".git/hooks" / name
        ours = hook.read_text()
        hook.write_text("#!/bin/sh\nexit 0\n")
        with pytest.raises(ConflictError, match="another program"):
            install(git)
        assert hook.read_text() == "#!/bin/sh\nexit 0\n"
        hook.write_text(ours)


def test_hooks_elsewhere_are_told(git: Git) -> None:
    git("config", "core.hooksPath", "elsewhere")
    with pytest.raises(ConflictError) as refusal:
        install(git)
    assert "git config --unset core.hooksPath" in refusal.value.fix


def test_a_clone_without_the_configuration_is_told(git: Git) -> None:
    (git.root / ".pre-commit-config.yaml").unlink()
    with pytest.raises(UsageError, match="pre-commit-config"):
        install(git)


def test_a_clone_whose_programs_are_gone_says_what_to_do(git: Git, tmp_path: Path) -> None:
    git("config", "cifarops.bin", str(tmp_path / "gone"))
    result = commit(git, "src/a.py", '"""A module."""\n')
    assert result.returncode == 1
    assert "make install" in result.stderr + result.stdout
