"""What git says, as messages that tell what to do."""

from pathlib import Path

import pytest

from cifarops.errors import ConflictError, UnavailableError, UsageError
from cifarops.flow.git import Git
from cifarops.flow.git_error import GitError
from tests.support.clones import Project, make_project, person, write

pytestmark = pytest.mark.flow


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


def test_a_clone_is_found_from_any_of_its_directories(project: Project) -> None:
    git = project.clone("cleo")
    (git.root / "a/b").mkdir(parents=True)
    assert Git.find(git.root / "a/b").root == git.root


def test_outside_a_clone_and_in_no_directory_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not inside a Git work tree"):
        Git.find(tmp_path)
    with pytest.raises(UsageError, match="There is no directory"):
        Git(tmp_path / "nothing")("status")


def test_a_hooks_variables_do_not_lead_it_elsewhere(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = project.clone("cleo"), project.clone("ada")
    monkeypatch.setenv("GIT_DIR", str(other.root / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other.root / ".git/index"))
    assert Git(one.root, person("cleo"))("rev-parse", "--show-toplevel") == str(one.root)


def test_a_failure_carries_what_git_said(project: Project) -> None:
    with pytest.raises(GitError, match=r"git switch nowhere failed: invalid reference: nowhere") as caught:
        project.clone("cleo")("switch", "nowhere")
    assert "fatal" in caught.value.stderr


def test_a_clone_without_a_remote_is_told(tmp_path: Path) -> None:
    git = Git(tmp_path, person("cleo"))
    git("init", "--quiet")
    with pytest.raises(UsageError, match="no remote 'origin'"):
        git.fetch()


def test_an_address_that_does_not_answer_is_told_without_the_password_in_it(project: Project) -> None:
    git = project.clone("cleo")
    git("remote", "set-url", "origin", "http://robot:glpat-123@127.0.0.1:9/nothing.git")  # allow-secret
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9/nothing\.git does not answer") as caught:
        git.fetch()
    assert "glpat" not in caught.value.message


def test_fetching_leaves_a_persons_own_branches_and_tags_alone(project: Project) -> None:
    git = project.clone("cleo")
    own = write(git, {"a": "1"}, "feat: a")
    git("tag", "v9.9.9")
    git("tag", "--force", "v1.0.0")
    git.fetch()
    assert list(git.remote_tags()) == ["v1.0.0"]
    assert git.remote_tags()["v1.0.0"] == project.tip("main")
    assert git.commit("refs/tags/v1.0.0") == git.commit("v9.9.9") == own


def test_what_is_gone_on_the_remote_is_gone_after_a_fetch(project: Project) -> None:
    git = project.clone("cleo")
    write(git, {"a": "1"}, "feat: a")
    git.push("HEAD:refs/heads/feature/a")
    other = project.clone("ada")
    other.fetch()
    assert list(other.remote_branches("feature")) == ["feature/a"]
    git.push(":refs/heads/feature/a")
    other.fetch()
    assert other.remote_branches("feature") == {}
    assert other.remote_branch("feature/a") is None


def test_a_push_that_is_behind_is_a_conflict(project: Project) -> None:
    one, other = project.clone("cleo"), project.clone("ada")
    write(one, {"a": "1"}, "feat: a")
    one.push("HEAD:refs/heads/feature/a")
    write(other, {"b": "1"}, "feat: b")
    with pytest.raises(ConflictError, match="something else at feature/a"):
        other.push("HEAD:refs/heads/feature/a")


def test_conflicts_are_named_as_the_files_are_called_and_nothing_is_touched(project: Project) -> None:
    git = project.clone("cleo")
    names = ["plain", "mit Leerzeichen", "tschüß/ordner.txt"]
    base = git.commit()
    ours = write(git, dict.fromkeys(names, "1"), "feat: ours")
    git("switch", "--quiet", "--detach", base)
    theirs = write(git, dict.fromkeys(names, "2"), "feat: theirs")
    before = git("status", "--porcelain"), git("for-each-ref")
    assert sorted(git.conflicts(ours, theirs)) == sorted(names)
    assert git.conflicts(base, theirs) == ()
    assert (git("status", "--porcelain"), git("for-each-ref")) == before


def test_a_commit_that_is_none_is_told(project: Project) -> None:
    with pytest.raises(UsageError, match="'nothing' names no commit"):
        project.clone("cleo").commit("nothing")


def test_a_person_is_named_with_an_address(project: Project) -> None:
    assert project.clone("cleo").person() == "Cleo <cleo@example.org>"
