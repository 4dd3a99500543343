"""`cifarops flow policy`, `flow check` and `flow install` as hooks and the pipeline call them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cifarops.cli.main import build
from cifarops.flow.git import Git
from tests.support.clones import ROOT, person, write

COMMITS = ["0" * 40, "a" * 40]


@pytest.fixture
def git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A clone in which the commands run; its branch is feature/x."""
    for name, value in person("ada").items():
        monkeypatch.setenv(name, value)
    Git(tmp_path)("init", "--quiet", "--bare", "--initial-branch=main", "remote.git")
    Git(tmp_path)("clone", "--quiet", "remote.git", "clone")
    git = Git(tmp_path / "clone")
    git("switch", "--quiet", "--create", "main")
    write(git, {"policy.yaml": (ROOT / "policy.yaml").read_text()}, "feat: begin")
    git("switch", "--quiet", "--create", "feature/x")
    git("push", "--quiet", "origin", "main", "main:develop", "main:release", "feature/x")
    monkeypatch.chdir(git.root)
    return git


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(build(), ["flow", *arguments], input=stdin)


def answer(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_policy_commands(git: Git) -> None:
    assert answer("policy", "check")["protected"] == ["develop", "release", "main"]
    assert answer("policy", "show")["work"]["hotfix"]["from"] == "main"
    assert "maintainer" in run("policy", "show").stdout
    told = answer("policy", "explain", "fix/x", "main")
    assert not told["allowed"]
    assert "develop -> release -> main" in told["instead"]
    assert run("policy", "explain", "fix/x", "develop").stdout.startswith("yes\n")


def test_a_wrong_policy_is_refused(git: Git) -> None:
    (git.root / "policy.yaml").write_text("version: 1\nnmes: {}\n")
    result = run("policy", "check")
    assert result.exit_code == 2
    assert "did you mean 'names'?" in result.stderr
    assert run("check", "branch", "fix/x").exit_code == 2


@pytest.mark.promise("B1")
def test_branch_and_commit(git: Git) -> None:
    assert answer("check", "branch")["full"] == "feature/x"
    assert answer("check", "branch", "hotfix/y-into-develop")["resolves"] == "develop"
    assert answer("check", "commit")["kind"] == "feature"
    result = run("check", "branch", "Feature/Foo_Bar")
    assert result.exit_code == 2
    assert "feature/foo-bar" in result.stderr


def test_outside_a_clone_nothing_is_judged(git: Git, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["branch"], ["commit"], ["commit", "x"], ["push"], ["merge", "fix/x", "main"]):
        result = run("check", *command)
        assert result.exit_code == 2
        assert "not inside a Git work tree" in result.stderr


def test_message_and_files(git: Git) -> None:
    file = git.root / "message"
    file.write_text("run tests\n")
    assert answer("check", "commit", "message")["message"] == "run tests"
    file.write_text("changes")
    assert run("check", "commit", "message").exit_code == 2
    assert answer("check", "files", "policy.yaml") == []
    file.write_text("key = AKIA" + "IOSFODNN7EXAMPL3")
    result = run("check", "files", "message", "policy.yaml")
    assert result.exit_code == 1
    assert "message:1: this looks like an AWS key" in result.stdout


@pytest.mark.promise("B4")
def test_push_reads_what_git_tells_its_hook(git: Git) -> None:
    head = git.commit()
    assert run("check", "push", stdin=f"x {head} refs/heads/feature/x {COMMITS[0]}\n").exit_code == 0
    result = run("check", "push", stdin=f"x {head} refs/heads/develop {COMMITS[1]}\n")
    assert result.exit_code == 2
    assert "develop is protected" in result.stderr


@pytest.mark.promise("B9", "B12")
def test_merge(git: Git) -> None:
    assert answer("check", "merge", "feature/x", "develop")["allowed"]
    result = run("check", "merge", "feature/x", "main")
    assert result.exit_code == 1
    assert "main accepts release or hotfix/*" in result.stderr
    assert "do: Merge feature/x into develop" in result.stderr


def test_install_tells_what_a_clone_lacks(git: Git) -> None:
    result = run("install")
    assert result.exit_code == 2
    assert ".pre-commit-config.yaml" in result.stderr
