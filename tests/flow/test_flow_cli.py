"""`cifarops flow …` as it is typed, in a clone."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cifarops.cli.main import build
from cifarops.flow.git import Git
from tests.support.clones import Project, make_project, person, write

pytestmark = pytest.mark.flow


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = make_project(tmp_path)
    git = project.clone("cleo")
    write(git, {"news": "1"}, "feat: news")
    git.push("HEAD:refs/heads/feature/news")
    project.merge("feature/news", "develop")
    return project


@pytest.fixture
def ada(project: Project, monkeypatch: pytest.MonkeyPatch) -> Git:
    """The clone in which the commands run."""
    git = project.clone("ada")
    for name, value in person("ada").items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(git.root)
    return git


def run(*arguments: str) -> Result:
    return CliRunner().invoke(build(), ["flow", *arguments])


def document(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_whole_way_of_a_release_and_of_a_hotfix(project: Project, ada: Git) -> None:
    assert document("status")["branch"] == "develop"
    assert run("version").stdout == "1.0.0\n"
    assert run("version", "--next").stdout == "1.1.0\n"
    assert "- news" in run("changelog").stdout

    cut = document("release", "cut")
    assert document("status")["freeze"]["by"] == "Ada <ada@example.org>"
    project.merge_number(cut["request"]["number"])
    assert document("unfreeze")[1] == {"what": "lift the freeze of develop", "outcome": "done"}
    finish = document("release", "finish")
    main = project.merge_number(finish["request"]["number"])
    (ada.root / "release.json").write_text('{"bundle": "abc"}')
    assert (
        document("release", "publish", "--commit", main, "--release-json", "release.json")["tag"] == "v1.1.0"
    )

    document("start", "hotfix", "urgent")
    write(ada, {"README.md": "one\ntwo\n"}, "fix: urgent")
    target, _ = document("hotfix", "finish")["targets"]
    project.merge_number(target["request"]["number"])
    assert document("release", "publish")["tag"] == "v1.1.1"
    (progress,) = document("backmerge")
    project.merge_number(progress["targets"][1]["request"]["number"])
    assert document("backmerge") == []
    assert document("status")["hotfixes"] == []


def test_for_people_each_step_is_told(ada: Git) -> None:
    result = run("freeze", "--reason", "why not", "--dry-run")
    assert result.exit_code == 0
    assert "would" in result.stderr
    assert "freeze develop" in result.stderr
    for command in (("status",), ("release", "cut"), ("backmerge",), ("start", "fix", "it")):
        assert run(*command).exit_code == 0


def test_a_refusal_says_what_to_do_and_exits_with_1(ada: Git) -> None:
    result = run("release", "finish")
    assert result.exit_code == 1
    assert "cifarops flow release cut" in result.stderr.replace("\n", " ")


def test_outside_a_clone_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("status")
    assert result.exit_code == 2
    assert "not inside a Git work tree" in result.stderr.replace("\n", " ")


def test_a_release_file_that_is_missing_is_told(ada: Git) -> None:
    result = run("release", "publish", "--release-json", "nothing.json")
    assert result.exit_code == 2
    assert "no release file" in result.stderr
