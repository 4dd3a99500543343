"""The policy against real repositories."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cifarops.errors import UsageError
from cifarops.flow.checks import (
    check_commit,
    check_merge,
    check_message_file,
    check_push,
    current_branch,
    fetch_all,
    policy_of,
)
from cifarops.flow.git import Git
from cifarops.flow.policy import POLICY, load_policy
from cifarops.flow.rules import Answer
from tests.support.clones import person, write

FILE = Path(__file__).parents[3] / POLICY
THE_POLICY = load_policy(FILE)
NOTHING, SOMETHING = "0" * 40, "a" * 40


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A clone of a bare remote with the three protected branches, develop one commit ahead."""
    Git(tmp_path, person("ada"))("init", "--quiet", "--bare", "--initial-branch=main", "remote.git")
    Git(tmp_path, person("ada"))("clone", "--quiet", "remote.git", "clone")
    git = Git(tmp_path / "clone", person("ada"))
    git("switch", "--quiet", "--create", "main")
    write(git, {"policy.yaml": FILE.read_text()}, "feat: begin")
    git("branch", "release")
    git("switch", "--quiet", "--create", "develop")
    write(git, {"new": "1"}, "feat: new")
    git("push", "--quiet", "origin", "main", "develop", "release")
    git.fetch()
    return git


def start(git: Git, branch: str, origin: str, *changes: str) -> None:
    """Make a branch with a commit for each change, push it and fetch."""
    git("switch", "--quiet", "--create", branch, origin)
    for change in changes:
        write(git, {change: branch}, f"fix: {change}")
    git("push", "--quiet", "origin", branch)
    git.fetch()


def merge(git: Git, source: str, target: str) -> None:
    git("switch", "--quiet", target)
    git("merge", "--quiet", "--no-ff", "--no-edit", source)
    git("push", "--quiet", "origin", target)
    git.fetch()


def ask(git: Git, source: str, target: str) -> Answer:
    return check_merge(git, THE_POLICY, source, target)


# --- commits and pushes


@pytest.mark.promise("B1")
def test_commits_are_made_on_well_named_work_branches(git: Git) -> None:
    git("switch", "--quiet", "--create", "feature/x")
    assert check_commit(git, THE_POLICY).kind == "feature"
    git("switch", "--quiet", "--create", "Feature/Foo_Bar")
    with pytest.raises(UsageError, match="feature/foo-bar"):
        check_commit(git, THE_POLICY)
    git("switch", "--quiet", "develop")
    with pytest.raises(UsageError, match="develop is protected"):
        check_commit(git, THE_POLICY)


def test_a_detached_head_is_refused_unless_a_branch_is_being_rebased(git: Git) -> None:
    git("switch", "--quiet", "--detach")
    with pytest.raises(UsageError, match="HEAD is detached"):
        check_commit(git, THE_POLICY)
    start(git, "fix/y", "main", "new")
    assert not git.succeeds("rebase", "--quiet", "develop"), "the rebase must stop at a conflict"
    assert git.current_branch() is None
    assert current_branch(git) == "fix/y"


@pytest.mark.promise("B1", "B4", "B12")
def test_every_branch_of_a_push_is_looked_at() -> None:
    good = f"refs/heads/x {SOMETHING} refs/heads/feature/x {NOTHING}\n"
    assert check_push(THE_POLICY, [good]) == [SOMETHING]
    assert check_push(THE_POLICY, []) == []
    assert check_push(THE_POLICY, [good.replace("refs/heads/x", "HEAD@{1 day ago}", 1)]) == [SOMETHING]
    for bad in ("feature/X", "develop", "release", "main", "x"):
        with pytest.raises(UsageError):
            check_push(THE_POLICY, [good, f"HEAD {SOMETHING} refs/heads/{bad} {SOMETHING}\n"])


@pytest.mark.promise("B4", "B12")
@pytest.mark.parametrize("branch", ["develop", "release", "main"])
def test_a_protected_branch_can_begin_and_not_be_deleted(branch: str) -> None:
    assert check_push(THE_POLICY, [f"HEAD {SOMETHING} refs/heads/{branch} {NOTHING}"]) == [SOMETHING]
    with pytest.raises(UsageError, match="protected"):
        check_push(THE_POLICY, [f"(delete) {NOTHING} refs/heads/{branch} {SOMETHING}"])


def test_a_badly_named_branch_can_be_deleted_and_tags_are_no_branches() -> None:
    lines = [
        f"(delete) {NOTHING} refs/heads/X {SOMETHING}",
        f"refs/tags/v1 {SOMETHING} refs/tags/v1 {NOTHING}",
    ]
    assert check_push(THE_POLICY, lines) == []


# --- messages


@pytest.mark.promise("B3")
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("run tests\n# Please enter the commit message\n#\n", "run tests"),
        ("run tests\n# ------------------------ >8 ------------------------\ndiff --git a b\n", "run tests"),
        ("feat: x\n\n# a comment\nrun tests\n", "conventional"),
    ],
)
def test_a_message_is_read_as_git_will_write_it(git: Git, tmp_path: Path, text: str, kind: str) -> None:
    (tmp_path / "message").write_text(text)
    assert check_message_file(git, THE_POLICY, tmp_path / "message") == kind


@pytest.mark.promise("B3")
def test_a_blank_before_run_tests_counts(git: Git, tmp_path: Path) -> None:
    (tmp_path / "message").write_text(" run tests\n")
    with pytest.raises(UsageError):
        check_message_file(git, THE_POLICY, tmp_path / "message")


def test_a_message_file_that_is_not_there_is_told(git: Git, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read"):
        check_message_file(git, THE_POLICY, tmp_path / "gone")


# --- merges


@pytest.mark.promise("B14")
def test_a_hotfix_starts_at_main_and_nowhere_else(git: Git) -> None:
    start(git, "hotfix/good", "main", "a")
    assert ask(git, "hotfix/good", "main").allowed
    start(git, "hotfix/bad", "develop", "b")
    answer = ask(git, "hotfix/bad", "main")
    assert not answer.allowed
    assert "contains 1 commit of develop" in answer.reason
    assert "git rebase --onto origin/main origin/develop hotfix/bad" in answer.instead


@pytest.mark.promise("B14")
def test_what_the_refusal_says_makes_it_right(git: Git) -> None:
    start(git, "hotfix/bad", "develop", "b")
    git("rebase", "--quiet", "--onto", "origin/main", "origin/develop", "hotfix/bad")
    git("push", "--quiet", "--force", "origin", "hotfix/bad")
    git.fetch()
    assert ask(git, "hotfix/bad", "main").allowed


@pytest.mark.promise("B16")
@pytest.mark.parametrize("order", [("develop", "main", "release"), ("main", "release", "develop")])
def test_a_hotfix_goes_everywhere_in_any_order(git: Git, order: tuple[str, ...]) -> None:
    start(git, "hotfix/x", "main", "a", "b")
    for target in order:
        assert ask(git, "hotfix/x", target).allowed
        merge(git, "hotfix/x", target)


@pytest.mark.promise("B14", "B16")
def test_a_conflict_is_resolved_on_a_branch_of_its_own(git: Git) -> None:
    start(git, "hotfix/x", "main", "a")
    start(git, "hotfix/x-into-develop", "hotfix/x")
    git("merge", "--quiet", "--no-edit", "origin/develop")
    git("push", "--quiet", "origin", "hotfix/x-into-develop")
    git.fetch()
    assert ask(git, "hotfix/x-into-develop", "develop").allowed
    assert not ask(git, "hotfix/x-into-develop", "main").allowed
    start(git, "hotfix/x-into-release", "hotfix/x-into-develop")
    answer = ask(git, "hotfix/x-into-release", "release")
    assert not answer.allowed, "it would bring what develop has and was not released"
    assert "develop" in answer.reason


@pytest.mark.promise("B14")
def test_after_a_release_develops_commits_are_mains(git: Git) -> None:
    merge(git, "develop", "release")
    merge(git, "release", "main")
    start(git, "hotfix/x", "main", "a")
    assert ask(git, "hotfix/x", "main").allowed


@pytest.mark.promise("B8")
def test_nothing_merges_into_a_frozen_branch(git: Git) -> None:
    start(git, "fix/x", "develop", "a")
    assert ask(git, "fix/x", "develop").allowed
    freeze = {"branch": "develop", "by": "Ada", "reason": "release 1.1.0", "release": "1.1.0"}
    body = json.dumps(freeze | {"since": datetime.now(UTC).isoformat()})
    git("tag", "--annotate", "--message", body, "freeze/develop", "origin/develop")
    git("push", "--quiet", "origin", "freeze/develop")
    git.fetch()
    answer = ask(git, "fix/x", "develop")
    assert not answer.allowed
    assert "release 1.1.0" in answer.reason
    remote = Git(git.root.parent / "remote.git", person("ada"))
    inside = check_merge(remote, THE_POLICY, "fix/x", "develop", branches="refs/heads/", tags="refs/tags/")
    assert inside == answer


def test_an_experiment_carries_its_file(git: Git) -> None:
    start(git, "experiment/wide", "develop", "a")
    answer = ask(git, "experiment/wide", "develop")
    assert not answer.allowed
    assert "git add experiments/wide.yaml" in answer.instead
    write(git, {"experiments/wide.yaml": "train: {}"}, "feat: wide")
    git("push", "--quiet", "origin", "experiment/wide")
    git.fetch()
    assert ask(git, "experiment/wide", "develop").allowed


def test_a_branch_that_was_not_pushed_is_told(git: Git) -> None:
    with pytest.raises(UsageError, match="no branch fix/gone"):
        ask(git, "fix/gone", "develop")


def test_a_shallow_clone_is_completed_before_it_is_asked(git: Git) -> None:
    start(git, "hotfix/bad", "develop", "b")
    Git(git.root.parent, person("ada"))(
        "clone",
        "--quiet",
        "--depth=1",
        "--branch=hotfix/bad",
        f"file://{git.root.parent}/remote.git",
        "shallow",
    )
    shallow = Git(git.root.parent / "shallow", person("ada"))
    assert shallow.is_shallow()
    fetch_all(shallow)
    assert not ask(shallow, "hotfix/bad", "main").allowed


@pytest.mark.promise("A2")
def test_a_change_of_the_policy_does_not_admit_itself(git: Git) -> None:
    loose = FILE.read_text().replace("into: [develop]", "into: [develop, main]", 1)
    loose = loose.replace("accepts: [release, hotfix]", "accepts: [release, hotfix, feature]")
    start(git, "feature/loose", "develop")
    write(git, {"policy.yaml": loose}, "feat: loose")
    git("push", "--quiet", "origin", "feature/loose")
    git.fetch()
    assert load_policy(git.root / POLICY) != THE_POLICY
    assert policy_of(git, "main") == THE_POLICY
