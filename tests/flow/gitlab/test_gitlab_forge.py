"""Merge requests, locks, tags, releases and notes, against a GitLab whose calls and answers are checked."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cifarops.errors import CifaropsError, ConflictError, UsageError
from cifarops.flow.forge import Forge, MergeRequest
from cifarops.flow.git import REMOTE_BRANCHES, Git
from cifarops.flow.gitlab.access import Access
from cifarops.flow.gitlab.approvals import check_approvals
from cifarops.flow.gitlab.client import Client, GitLabError
from cifarops.flow.gitlab.forge import GitLabForge
from cifarops.flow.gitlab.plan import apply, make_plan
from cifarops.flow.policy import POLICY, Policy, load_policy
from tests.support.gitlab_server import JOB_TOKEN
from tests.support.gitlab_state import PROJECT, Fault, GitLab

pytestmark = pytest.mark.flow
IDENTITY = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": f"ada{at}"
        for who in ("AUTHOR", "COMMITTER")
        for what, at in (("NAME", ""), ("EMAIL", "@example.org"))
    },
}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(Path(__file__).parents[3] / POLICY)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    git = Git(tmp_path, IDENTITY)
    git("init", "--quiet", "--initial-branch=develop")
    return git


@pytest.fixture
def forge(client: Client, git: Git, policy: Policy, gitlab: GitLab) -> GitLabForge:
    return GitLabForge(client, git, policy)


@pytest.fixture
def as_job(url: str, git: Git, policy: Policy) -> GitLabForge:
    return GitLabForge(Client(Access(url, PROJECT, JOB_TOKEN, is_job_token=True)), git, policy)


def test_it_is_a_forge(forge: Forge) -> None:
    assert forge.name == "gitlab"


def test_a_merge_request_is_opened_once(forge: GitLabForge, gitlab: GitLab) -> None:
    first = forge.open("feature/x", "develop", title="feat: x", description="why", labels=["feature"])
    again = forge.open("feature/x", "develop", title="feat: other", description="")
    assert again == first
    assert (first.number, first.state, first.approvals, first.conflicts) == (1, "open", 0, ())
    assert len(gitlab.merge_requests) == 1
    assert gitlab.merge_requests[0]["labels"] == ["feature"]
    assert gitlab.merge_requests[0]["remove_source_branch"] is True


@pytest.mark.promise("B16")
def test_what_merges_into_several_branches_is_kept(forge: GitLabForge, gitlab: GitLab) -> None:
    forge.open("hotfix/y", "main", title="fix: y", description="")
    forge.open("hotfix/y", "develop", title="fix: y", description="")
    assert [each["remove_source_branch"] for each in gitlab.merge_requests] == [False, False]
    assert [each.target for each in forge.merge_requests(source="hotfix/y", state="open")] == [
        "main",
        "develop",
    ]


def test_two_who_open_at_once_get_the_same_one(forge: GitLabForge, gitlab: GitLab) -> None:
    def go(_: int) -> MergeRequest:
        return forge.open("feature/x", "develop", title="feat: x", description="")

    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(go, range(4)))
    assert len(set(opened)) == len(gitlab.merge_requests) == 1


def test_merge_requests_are_found_by_their_properties_on_every_page(
    forge: GitLabForge, gitlab: GitLab
) -> None:
    forge.open("feature/x", "develop", title="feat: x", description="")
    model = gitlab.merge_requests[0]
    gitlab.merge_requests += [{**model, "iid": number, "state": "merged"} for number in range(2, 130)]
    assert len(forge.merge_requests(source="feature/x", state="merged")) == 128
    assert [each.number for each in forge.merge_requests(target="develop", state="open")] == [1]
    assert forge.merge_requests(target="main") == []


@pytest.mark.promise("B6")
def test_the_authors_own_approval_does_not_count(forge: GitLabForge, gitlab: GitLab, policy: Policy) -> None:
    forge.open("release", "main", title="chore: release", description="")
    gitlab.approved_by[1] = ["ada", "bob"]
    with pytest.raises(CifaropsError, match="1 of 2 approvals"):
        check_approvals(forge, policy, 1)
    gitlab.approved_by[1] = ["ada", "bob", "cleo"]
    assert check_approvals(forge, policy, 1).approvals == 2


def test_a_conflict_is_told_with_its_files(
    forge: GitLabForge, git: Git, gitlab: GitLab, tmp_path: Path
) -> None:
    for branch, text in (("base", "a"), ("develop", "b"), ("feature/x", "c")):
        if branch != "base":
            git("checkout", "--quiet", "-B", branch, "base")
        (tmp_path / "model.py").write_text(text)
        git("add", "model.py")
        git("commit", "--quiet", "-m", f"feat: {text}")
        (
            git("branch", "--force", "base")
            if branch == "base"
            else git("update-ref", REMOTE_BRANCHES + branch, "HEAD")
        )
    forge.open("feature/x", "develop", title="feat: x", description="")
    gitlab.merge_requests[0]["has_conflicts"] = True
    assert forge.merge_request(1).conflicts == ("model.py",)
    gitlab.merge_requests[0] |= {"has_conflicts": False, "detailed_merge_status": "checking"}
    assert forge.merge_request(1).conflicts is None


@pytest.mark.promise("B8", "B10")
def test_a_lock_lets_nobody_merge_and_opens_nothing(
    forge: GitLabForge, client: Client, gitlab: GitLab, policy: Policy
) -> None:
    apply(client, policy)
    gitlab.exposed.clear()
    for _ in range(2):
        forge.lock("develop")
        assert (gitlab.may("develop", "merge"), gitlab.may("main", "merge")) == (0, 40)
    for _ in range(2):
        forge.unlock("develop")
        assert gitlab.may("develop", "merge") == 30
    assert gitlab.exposed == []
    assert make_plan(client, policy).changes == ()


@pytest.mark.promise("B8")
@pytest.mark.parametrize("gitlab", ["free"], indirect=True)
@pytest.mark.parametrize(
    "cut",
    ["DELETE protected_branches/develop", "POST protected_branches", r"DELETE protected_branches/develop%2A"],
)
def test_a_lock_that_is_cut_off_leaves_the_branch_closed_and_is_resumed(
    forge: GitLabForge, client: Client, gitlab: GitLab, policy: Policy, cut: str
) -> None:
    apply(client, policy)
    gitlab.exposed.clear()
    gitlab.faults.append(Fault(cut, 400))
    with pytest.raises(GitLabError):
        forge.lock("develop")
    assert gitlab.exposed == []
    forge.lock("develop")
    assert gitlab.may("develop", "merge") == 0
    gitlab.tags["freeze/develop"] = "{}"
    apply(client, policy)
    assert [each["name"] for each in gitlab.protected_branches].count("develop*") == 0


def test_a_tag_is_created_once_and_deleted_twice(forge: GitLabForge, gitlab: GitLab) -> None:
    forge.create_tag("freeze/develop", "c0ffee", "{}")
    with pytest.raises(ConflictError, match="freeze/develop"):
        forge.create_tag("freeze/develop", "c0ffee", "{}")
    forge.delete_tag("freeze/develop")
    forge.delete_tag("freeze/develop")
    assert gitlab.tags == {}


@pytest.mark.promise("B17")
def test_a_release_is_published_once_and_a_jobs_token_suffices(as_job: GitLabForge, gitlab: GitLab) -> None:
    gitlab.tags["v1.2.0"] = "release"
    files = {"release.json": b"{}", "cifarops-1.2.0-py3-none-any.whl": b"wheel"}
    address = as_job.publish("v1.2.0", title="1.2.0", notes="- feat: x", files=files)
    assert address.endswith("/-/releases/v1.2.0")
    gitlab.calls.clear()
    assert as_job.publish("v1.2.0", title="1.2.0", notes="- feat: x", files=files) == address
    assert {call.split()[0] for call in gitlab.calls} == {"GET"}
    assert sorted(link["name"] for link in gitlab.links["v1.2.0"]) == sorted(files)
    assert "team%2Fcifarops/packages/generic/release/1.2.0/release.json" in gitlab.links["v1.2.0"][0]["url"]


@pytest.mark.parametrize(
    "cut", ["PUT packages/generic/.*whl", "POST releases", r"POST releases/v1\.2\.0/assets/links"]
)
def test_a_publication_that_is_cut_off_is_resumed(as_job: GitLabForge, gitlab: GitLab, cut: str) -> None:
    gitlab.tags["v1.2.0"] = "release"
    files = {"release.json": b"{}", "cifarops-1.2.0-py3-none-any.whl": b"wheel"}
    gitlab.faults.append(Fault(cut, 400))
    with pytest.raises(GitLabError):
        as_job.publish("v1.2.0", title="1.2.0", notes="", files=files)
    as_job.publish("v1.2.0", title="1.2.0", notes="", files=files)
    assert sorted(each["file_name"] for each in gitlab.files) == sorted(files)
    assert sorted(link["name"] for link in gitlab.links["v1.2.0"]) == sorted(files)


def test_a_published_file_is_never_replaced(forge: GitLabForge, gitlab: GitLab) -> None:
    gitlab.tags["v1.2.0"] = "release"
    forge.publish("v1.2.0", title="1.2.0", notes="", files={"release.json": b"{}"})
    with pytest.raises(ConflictError, match="another content"):
        forge.publish("v1.2.0", title="1.2.0", notes="", files={"release.json": b"[]"})
    assert len(gitlab.files) == 1
    forge.publish("v1.2.0", title="1.2.0", notes="better notes", files={"release.json": b"{}"})
    assert gitlab.releases[0]["description"] == "better notes"


def test_a_release_of_no_tag_is_refused(forge: GitLabForge) -> None:
    with pytest.raises(GitLabError, match=r"no tag v9\.9\.9") as caught:
        forge.publish("v9.9.9", title="9.9.9", notes="", files={})
    assert "git push origin v9.9.9" in caught.value.fix


@pytest.mark.promise("A6")
def test_a_note_is_written_once_for_each_key_and_updated(forge: GitLabForge, gitlab: GitLab) -> None:
    forge.open("feature/x", "develop", title="feat: x", description="")
    forge.comment(1, "accuracy 0.91", key="model-report")
    forge.comment(1, "other", key="load")
    forge.comment(1, "accuracy 0.92", key="model-report")
    assert [note["body"].partition("\n")[2] for note in gitlab.notes[1]] == ["accuracy 0.92", "other"]
    gitlab.calls.clear()
    forge.comment(1, "accuracy 0.92", key="model-report")
    assert gitlab.calls == ["GET merge_requests/1/notes"]


def test_a_jobs_own_token_cannot_comment(as_job: GitLabForge, gitlab: GitLab) -> None:
    with pytest.raises(UsageError, match="CI_JOB_TOKEN") as caught:
        as_job.comment(1, "x", key="y")
    assert "CIFAROPS_GITLAB_TOKEN" in caught.value.fix
    with pytest.raises(GitLabError, match="404") as refused:
        as_job.merge_requests()
    assert "CIFAROPS_GITLAB_TOKEN" in refused.value.fix
