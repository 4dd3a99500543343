"""The local forge: what its hooks let in, what it merges, and that both say what the rules say."""

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarops.errors import CifaropsError, ConflictError, IntegrityError, UsageError
from cifarops.flow.freeze import freeze
from cifarops.flow.git import Git
from cifarops.flow.git_error import GitError
from cifarops.flow.local.create import create_remote
from cifarops.flow.local.guard import Update, may_update
from cifarops.flow.local.merging import merge_refusal
from cifarops.flow.local.state import ForgeState, Request, Store
from cifarops.flow.policy import POLICY, load_policy
from cifarops.flow.rules import may_merge, may_push
from tests.support.clones import MEMBERS, ROOT, Project, make_project, write

pytestmark = pytest.mark.flow

RULES = load_policy(ROOT / POLICY)
STATE = ForgeState(policy=RULES, members=dict(MEMBERS))
NOTHING, OLD, NEW = "0" * 40, "1" * 40, "2" * 40
BRANCHES = (
    *RULES.protected,
    *(f"{kind}/name" for kind in RULES.work),
    "hotfix/name-into-develop",
    "hotfix/name-into-release",
    "feature/name-into-develop",
    "Feature/Name",
    "feature/a_b",
    "junk",
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


@pytest.fixture
def cleo(project: Project) -> Git:
    git = project.clone("cleo")
    write(git, {"work": "1"}, "feat: work")
    return git


# --- the rules, the hooks and the merges agree


@pytest.mark.promise("B9", "B12", "A2")
def test_for_every_pair_of_branches_the_forge_merges_what_the_rules_allow(project: Project) -> None:
    git = Git(project.forge.root)
    base = project.tip("main")
    tree = git("mktree", stdin=f"040000 tree {_experiments(git)}\texperiments\n")
    for branch in BRANCHES:
        tip = git("commit-tree", tree, "-p", base, "-m", f"feat: {branch}")
        git("update-ref", f"refs/heads/{branch}", tip)

    state = project.forge._store.read()
    for source, target in product(BRANCHES, BRANCHES):
        if source == target:
            continue
        tip = project.tip(source)
        request = Request(
            number=1, source=source, target=target, title="t", description="", labels=(), author="cleo"
        )
        request.approvals, request.pipelines = {"ada": tip, "bob": tip}, {tip: True}
        wanted, refused = may_merge(RULES, source, target), merge_refusal(git, state, request, "ada")
        assert (refused is None) == wanted.allowed, (source, target, refused, wanted)
        if refused is not None:
            assert refused == wanted


def _experiments(git: Git) -> str:
    blob = git("hash-object", "-w", "--stdin", stdin="profile: smoke\n")
    return git("mktree", stdin=f"100644 blob {blob}\tname.yaml\n")


@pytest.mark.promise("B1")
@given(
    st.one_of(
        st.sampled_from(BRANCHES),
        st.from_regex(r"(feature|fix|experiment|hotfix|develop|x)/?[a-zA-Z0-9_./-]{0,60}", fullmatch=True),
    )
)
def test_a_new_branch_is_let_in_exactly_when_the_rules_allow_to_push_it(branch: str) -> None:
    update = Update(NOTHING, NEW, f"refs/heads/{branch}")
    answer = may_update(Git(ROOT), STATE, "cleo", update)
    if branch not in RULES.protected:
        assert answer.allowed == may_push(RULES, branch).allowed
    assert answer.allowed or (answer.reason and answer.instead)


@given(st.sampled_from([*MEMBERS, "nobody", ""]), st.text(max_size=20), st.sampled_from([NOTHING, OLD]))
def test_tags_of_the_policy_are_made_by_maintainers_and_never_moved(user: str, name: str, old: str) -> None:
    for prefix in ("v", "freeze/"):
        answer = may_update(Git(ROOT), STATE, user, Update(old, NEW, f"refs/tags/{prefix}{name}"))
        assert answer.allowed == (MEMBERS.get(user) == "maintainer" and old == NOTHING)


# --- pushes


@pytest.mark.promise("B4", "B12")
@pytest.mark.parametrize("branch", list(RULES.protected))
@pytest.mark.parametrize("user", ["cleo", "ada"])
def test_nobody_pushes_to_deletes_or_rewrites_a_protected_branch(
    project: Project, branch: str, user: str
) -> None:
    git = project.clone(user)
    before = project.tip(branch)
    write(git, {"a": "1"}, "feat: a")
    rewritten = git("commit-tree", "HEAD^{tree}", "-m", "feat: another past")
    for refspec in (
        f"HEAD:refs/heads/{branch}",
        f"+{rewritten}:refs/heads/{branch}",
        f":refs/heads/{branch}",
    ):
        with pytest.raises(GitError, match=f"The remote refused: {branch} is protected"):
            git.push(refspec)
    assert project.tip(branch) == before


@pytest.mark.promise("B1")
def test_a_bad_name_is_refused_with_the_right_form(project: Project, cleo: Git) -> None:
    with pytest.raises(GitError, match=r"nearest is feature/my-idea") as caught:
        cleo.push("HEAD:refs/heads/feature/My_Idea")
    assert "git branch -m feature/my-idea" in caught.value.fix


def test_one_bad_reference_refuses_the_whole_push(project: Project, cleo: Git) -> None:
    with pytest.raises(GitError):
        cleo.push("HEAD:refs/heads/feature/good", "HEAD:refs/heads/main")
    with pytest.raises(UsageError):
        project.tip("feature/good")


@pytest.mark.parametrize("refspec", [":refs/tags/v1.0.0", "+HEAD:refs/tags/v1.0.0"])
def test_a_release_tag_is_never_moved_or_deleted(project: Project, refspec: str) -> None:
    git = project.clone("ada")
    write(git, {"a": "1"}, "feat: a")
    with pytest.raises(GitError, match=r"v1\.0\.0 is protected"):
        git.push(refspec)


def test_a_work_branch_may_be_rewritten_and_deleted(project: Project, cleo: Git) -> None:
    cleo.push("HEAD:refs/heads/feature/mine")
    cleo("commit", "--quiet", "--amend", "--message", "feat: better")
    with pytest.raises(ConflictError):
        cleo.push("HEAD:refs/heads/feature/mine")
    cleo.push("+HEAD:refs/heads/feature/mine")
    assert project.tip("feature/mine") == cleo.commit()
    cleo.push(":refs/heads/feature/mine")


def test_who_is_no_member_pushes_nothing(project: Project) -> None:
    git = project.clone("mallory")
    write(git, {"a": "1"}, "feat: a")
    with pytest.raises(GitError, match="mallory is no member"):
        git.push("HEAD:refs/heads/feature/mine")


def test_a_push_option_opens_a_merge_request_as_in_gitlab(project: Project, cleo: Git) -> None:
    options = ["merge_request.create", "merge_request.target=develop", "merge_request.title=What it does"]
    flags = [f"--push-option={option}" for option in options]
    said = cleo.run("push", *flags, "origin", "HEAD:refs/heads/feature/mine").stderr
    (request,) = project.forge.merge_requests()
    assert (request.source, request.target, request.title, request.author) == (
        "feature/mine",
        "develop",
        "What it does",
        "cleo",
    )
    assert "merge request !1 into develop" in said


def test_every_push_and_every_new_commit_of_a_merge_request_is_an_event(project: Project, cleo: Git) -> None:
    before = len(project.forge.events())
    cleo.push("HEAD:refs/heads/feature/mine")
    project.as_user("cleo").open("feature/mine", "develop", title="t", description="")
    write(cleo, {"more": "1"}, "run tests")
    cleo.push("HEAD:refs/heads/feature/mine")
    project.merge_number(1)
    events = project.forge.events(after=before)
    assert [(each.kind, each.branch, each.by) for each in events] == [
        ("push", "feature/mine", "cleo"),
        ("merge_request", "feature/mine", "cleo"),
        ("push", "feature/mine", "cleo"),
        ("merge_request", "feature/mine", "cleo"),
        ("push", "develop", "ada"),
    ]
    assert [each.commit for each in events[2:4]] == [cleo.commit()] * 2
    assert events[-1].commit == project.tip("develop")


# --- merge requests


@pytest.fixture
def number(project: Project, cleo: Git) -> int:
    cleo.push("HEAD:refs/heads/feature/mine")
    return project.as_user("cleo").open("feature/mine", "develop", title="t", description="").number


@pytest.mark.promise("B6")
def test_without_the_approval_of_somebody_else_nothing_merges(
    project: Project, cleo: Git, number: int
) -> None:
    project.forge.pipeline_result(number, cleo.commit(), ok=True)
    project.forge.approve(number, "cleo")
    with pytest.raises(GitError, match=r"needs 1 approval .* has 0") as caught:
        project.forge.merge(number, "cleo")
    assert "other than cleo" in caught.value.fix
    project.forge.approve(number, "bob")
    project.forge.merge(number, "cleo")


@pytest.mark.promise("B6")
def test_a_new_commit_needs_a_new_approval_and_a_new_pipeline(
    project: Project, cleo: Git, number: int
) -> None:
    project.forge.approve(number, "bob")
    project.forge.pipeline_result(number, cleo.commit(), ok=True)
    write(cleo, {"more": "1"}, "feat: more")
    cleo.push("HEAD:refs/heads/feature/mine")
    with pytest.raises(GitError, match="has 0"):
        project.forge.merge(number, "cleo")
    project.forge.approve(number, "bob")
    with pytest.raises(GitError, match="has not ended yet"):
        project.forge.merge(number, "cleo")
    project.forge.pipeline_result(number, cleo.commit(), ok=False)
    with pytest.raises(GitError, match="failed"):
        project.forge.merge(number, "cleo")


def test_a_developer_does_not_merge_into_main(project: Project, cleo: Git) -> None:
    cleo.push("HEAD:refs/heads/hotfix/mine")
    with pytest.raises(GitError, match="only maintainers merge into main"):
        project.merge("hotfix/mine", "main", by="cleo")


def test_a_locked_branch_takes_nothing_until_it_is_unlocked(project: Project, number: int) -> None:
    for _ in range(2):
        project.forge.lock("develop")
    with pytest.raises(GitError, match="develop is locked"):
        project.merge_number(number)
    for _ in range(2):
        project.forge.unlock("develop")
    project.merge_number(number)


def test_a_conflict_is_refused_with_the_files(project: Project, cleo: Git, number: int) -> None:
    other = project.clone("bob")
    write(other, {"work": "2", "sub/dir.txt": "x"}, "feat: same file")
    other.push("HEAD:refs/heads/feature/other")
    project.merge("feature/other", "develop")
    (request,) = project.forge.merge_requests(source="feature/mine")
    assert request.conflicts == ("work",)
    with pytest.raises(GitError, match="conflicts with develop in work"):
        project.merge_number(number)


def test_merges_are_merge_commits_and_merging_twice_is_merging_once(project: Project, number: int) -> None:
    before = project.tip("develop")
    merged = project.merge_number(number)
    git = Git(project.forge.root)
    assert git("log", "-1", "--format=%P", merged).split() == [before, project.tip("feature/mine")]
    assert project.forge.merge(number, "ada") == merged


def test_a_server_that_died_after_the_merge_knows_that_it_was_one(project: Project, number: int) -> None:
    state = project.forge._store.read()
    project.merge_number(number)
    project.forge._store.write(state)  # as if it had died before this was written
    (request,) = project.forge.merge_requests()
    assert request.state == "merged"
    assert project.forge.merge(number, "ada") == project.tip("develop")


def test_nothing_to_merge_is_refused(project: Project, number: int) -> None:
    project.merge_number(number)
    with pytest.raises(UsageError, match="has everything"):
        project.as_user("cleo").open("feature/mine", "develop", title="t", description="")


def test_opening_twice_is_opening_once(project: Project, number: int) -> None:
    again = project.as_user("bob").open("feature/mine", "develop", title="other", description="")
    assert (again.number, again.author, again.title) == (number, "cleo", "t")


def test_a_note_with_the_same_key_replaces_the_first(project: Project, number: int) -> None:
    project.forge.comment(number, "first", key="model")
    project.forge.comment(number, "second", key="model")
    assert project.forge._store.read().requests[0].notes == {"model": "second"}


def test_the_freeze_of_one_clone_stops_the_merge_of_another(project: Project, number: int) -> None:
    freeze(project.clone("ada"), project.policy, project.as_user("ada"), reason="cutting")
    with pytest.raises(GitError, match="develop is frozen"):
        project.merge_number(number)


# --- making one


def test_a_remote_is_made_only_where_nothing_lies(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not empty"):
        create_remote(tmp_path, RULES, MEMBERS)
    with pytest.raises(UsageError, match="needs a maintainer"):
        create_remote(tmp_path / "new", RULES, {"cleo": "developer"})


def test_damaged_state_is_told(project: Project) -> None:
    (project.forge.root / "flow/state.json").write_text('{"policy": ')
    with pytest.raises(IntegrityError, match="not the state of a local forge"):
        Store(project.forge.root).read()
    with pytest.raises(CifaropsError):
        project.forge.merge_requests()
