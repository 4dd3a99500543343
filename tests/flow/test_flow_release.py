"""Freezing develop, cutting, finishing and publishing a release, by several people in real clones."""

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cifarops.errors import CifaropsError, ConflictError, IntegrityError, UsageError
from cifarops.flow import release
from cifarops.flow.freeze import fetch_freeze, freeze, unfreeze
from cifarops.flow.git import Git
from cifarops.flow.git_error import GitError
from cifarops.flow.numbering import forecast
from cifarops.flow.publish import publish
from cifarops.flow.status import status
from tests.support.clones import Project, make_project, person, write
from tests.support.crash import killed_after

pytestmark = pytest.mark.flow


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with one feature more on develop than was released."""
    project = make_project(tmp_path)
    land(project, "news", "feat: news")
    return project


@pytest.fixture
def ada(project: Project) -> Git:
    return project.clone("ada")


def land(project: Project, name: str, message: str, *, kind: str = "feature") -> None:
    """Bring a change into develop."""
    git = project.clone("cleo")
    write(git, {name: message}, message)
    git.push(f"HEAD:refs/heads/{kind}/{name}")
    project.merge(f"{kind}/{name}", "develop")


def released(project: Project, git: Git) -> str:
    """Bring develop to main and return main's newest commit."""
    forge = project.as_user("ada")
    cut = release.cut(git, project.policy, forge)
    assert cut.request
    project.merge_number(cut.request.number)
    unfreeze(git, project.policy, project.forge)
    finish = release.finish(git, project.policy, forge)
    assert finish.request
    return project.merge_number(finish.request.number)


# --- freeze


@pytest.mark.promise("B8")
def test_nothing_merges_while_develop_is_frozen_and_everybody_is_told_by_whom(
    project: Project, ada: Git
) -> None:
    freeze(ada, project.policy, project.as_user("ada"), reason="a release is cut")
    write(git := project.clone("cleo"), {"more": "1"}, "feat: more")
    git("switch", "--quiet", "-c", "feature/more")
    git("push", "--quiet", "-u", "origin", "feature/more")
    (advice,) = (each for each in status(git, project.policy, None).next if "feature/more" in each)
    assert advice.endswith("approved and green, and develop is no longer frozen")
    with pytest.raises(GitError, match=r"frozen since .* by Ada <ada@example\.org>: a release is cut"):
        project.merge("feature/more", "develop")


@pytest.mark.promise("B10")
def test_a_freeze_can_be_lifted_by_somebody_else(project: Project, ada: Git) -> None:
    freeze(ada, project.policy, project.as_user("ada"), reason="")
    unfreeze(project.clone("bob"), project.policy, project.as_user("bob"))
    assert fetch_freeze(ada, "develop") is None
    land(project, "more", "feat: more")


@pytest.mark.promise("B8", "B10")
def test_the_pipeline_lifts_a_freeze_when_the_cut_is_merged_and_not_when_a_hotfix_is(
    project: Project, ada: Git
) -> None:
    forge = project.as_user("ada")
    cut = release.cut(ada, project.policy, forge)
    assert cut.request
    git = project.clone("cleo")
    git("switch", "--quiet", "--no-track", "--create", "hotfix/urgent", "origin/main")
    write(git, {"urgent": "1"}, "fix: urgent")
    git.push("HEAD:refs/heads/hotfix/urgent")
    project.merge("hotfix/urgent", "release")
    (kept,) = unfreeze(ada, project.policy, forge, if_merged=True)
    assert kept.what == "keep develop frozen: release lacks some of it"
    assert fetch_freeze(ada, "develop") is not None
    project.merge_number(cut.request.number)
    unfreeze(ada, project.policy, forge, if_merged=True)
    assert fetch_freeze(ada, "develop") is None
    land(project, "more", "feat: more")


def test_freezing_twice_keeps_the_first_freeze(project: Project, ada: Git) -> None:
    forge = project.as_user("ada")
    freeze(ada, project.policy, forge, reason="first")
    first = fetch_freeze(ada, "develop")
    again = freeze(ada, project.policy, forge, reason="second")
    assert again[0].outcome == "already"
    assert fetch_freeze(ada, "develop") == first


def test_a_second_person_is_told_who_froze(project: Project, ada: Git) -> None:
    freeze(ada, project.policy, project.as_user("ada"), reason="mine")
    with pytest.raises(ConflictError, match=r"Ada <ada@example\.org>") as caught:
        freeze(project.clone("bob"), project.policy, project.as_user("bob"), reason="mine")
    assert "cifarops flow unfreeze" in caught.value.fix


def test_unfreezing_what_is_not_frozen_changes_nothing(project: Project, ada: Git) -> None:
    assert unfreeze(ada, project.policy, project.as_user("ada"))[1].outcome == "already"


@pytest.mark.parametrize("steps", [1, 2])
def test_killed_a_freeze_is_carried_on(project: Project, ada: Git, steps: int) -> None:
    forge = project.as_user("ada")
    killed_after(steps, lambda listener: freeze(ada, project.policy, forge, reason="r", listener=listener))
    freeze(ada, project.policy, forge, reason="r")
    assert fetch_freeze(ada, "develop") is not None
    killed_after(steps, lambda listener: unfreeze(ada, project.policy, forge, listener=listener))
    unfreeze(ada, project.policy, forge)
    assert fetch_freeze(ada, "develop") is None
    land(project, "more", "feat: more")


def test_a_dry_run_freezes_nothing(project: Project, ada: Git) -> None:
    freeze(ada, project.policy, project.as_user("ada"), reason="", dry_run=True)
    assert fetch_freeze(ada, "develop") is None
    land(project, "more", "feat: more")


def test_a_developer_can_not_freeze(project: Project) -> None:
    with pytest.raises(GitError, match="cleo is a developer"):
        freeze(project.clone("cleo"), project.policy, project.as_user("cleo"), reason="")


@pytest.mark.promise("B10")
@pytest.mark.parametrize("kind", [("--annotate", "--message=by hand"), ()], ids=["annotated", "lightweight"])
def test_a_tag_of_somebody_elses_making_is_told_and_can_be_lifted(
    project: Project, ada: Git, kind: tuple[str, ...]
) -> None:
    bare = Git(project.forge.root, person("robot"))
    bare("tag", *kind, "freeze/develop", project.tip("develop"))
    with pytest.raises(IntegrityError, match="was not written by cifarops") as told:
        release.cut(ada, project.policy, project.as_user("ada"))
    assert "cifarops flow unfreeze" in told.value.fix
    unfreeze(ada, project.policy, project.as_user("ada"))
    release.cut(ada, project.policy, project.as_user("ada"))


def test_a_freeze_grows_stale(project: Project, ada: Git) -> None:
    freeze(ada, project.policy, project.as_user("ada"), reason="")
    standing = fetch_freeze(ada, "develop")
    assert standing
    later = datetime.now(UTC) + timedelta(hours=73)
    assert standing.is_stale(later, after_hours=72)
    assert not standing.is_stale(later - timedelta(hours=2), after_hours=72)


# --- cut and finish


@pytest.mark.promise("B8", "B9")
def test_a_cut_freezes_develop_and_opens_the_merge_request_with_the_changelog(
    project: Project, ada: Git
) -> None:
    cut = release.cut(ada, project.policy, project.as_user("ada"))
    assert cut.version == "1.1.0"
    assert cut.request
    assert (cut.request.source, cut.request.target, cut.request.state) == ("develop", "release", "open")
    assert cut.request.title == "Release 1.1.0: develop into release"
    standing = fetch_freeze(ada, "develop")
    assert standing
    assert (standing.by, standing.release) == ("Ada <ada@example.org>", "1.1.0")


def test_of_two_who_cut_at_once_one_wins_and_the_other_is_told_who(project: Project) -> None:
    told: dict[str, object] = {}
    start = threading.Barrier(2)

    def attempt(user: str, git: Git) -> None:
        start.wait()
        try:
            told[user] = release.cut(git, project.policy, project.as_user(user))
        except CifaropsError as error:
            told[user] = error

    threads = [threading.Thread(target=attempt, args=(user, project.clone(user))) for user in ("ada", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (winner,) = (user for user, answer in told.items() if isinstance(answer, release.Release))
    (refusal,) = (answer for answer in told.values() if isinstance(answer, ConflictError))
    assert f"{winner.title()} <{winner}@example.org>" in refusal.message
    assert len(project.forge.merge_requests(state="open")) == 1


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_killed_a_cut_is_carried_on(project: Project, ada: Git, steps: int) -> None:
    forge = project.as_user("ada")
    killed_after(steps, lambda listener: release.cut(ada, project.policy, forge, listener=listener))
    cut = release.cut(ada, project.policy, forge)
    assert cut.request
    assert [each.number for each in forge.merge_requests(target="release")] == [cut.request.number]
    assert fetch_freeze(ada, "develop") is not None
    project.merge_number(cut.request.number)


def test_a_dry_run_of_a_cut_does_nothing(project: Project, ada: Git) -> None:
    before = project.forge.events()
    cut = release.cut(ada, project.policy, project.as_user("ada"), dry_run=True)
    assert [step.outcome for step in cut.steps] == ["would"] * 3
    assert cut.request is None
    assert project.forge.events() == before
    assert fetch_freeze(ada, "develop") is None


def test_with_nothing_new_there_is_no_cut(project: Project, ada: Git) -> None:
    released(project, ada)
    with pytest.raises(CifaropsError, match="nothing that release lacks"):
        release.cut(ada, project.policy, project.as_user("ada"))
    assert fetch_freeze(ada, "develop") is None


@pytest.mark.promise("B12")
def test_finish_says_what_is_missing(project: Project, ada: Git) -> None:
    forge = project.as_user("ada")
    with pytest.raises(CifaropsError, match="no release is in preparation"):
        release.finish(ada, project.policy, forge)
    cut = release.cut(ada, project.policy, forge)
    assert cut.request
    project.merge_number(cut.request.number)

    finish = release.finish(ada, project.policy, forge)

    assert finish.request
    assert finish.request.target == "main"
    assert finish.missing[0] == "2 more approvals by others than ada"
    with pytest.raises(GitError, match="needs 2 approvals"):
        project.forge.merge(finish.request.number, "bob")
    assert release.finish(ada, project.policy, forge).request == finish.request


@pytest.mark.parametrize("trouble", ["dirty", "detached", "diverged"])
def test_a_clone_that_is_not_ready_cuts_nothing(project: Project, ada: Git, trouble: str) -> None:
    if trouble == "dirty":
        (ada.root / "README.md").write_text("changed")
    elif trouble == "detached":
        ada("switch", "--quiet", "--detach")
    else:
        write(ada, {"own": "1"}, "feat: on develop itself")
    with pytest.raises(CifaropsError):
        release.cut(ada, project.policy, project.as_user("ada"))
    assert fetch_freeze(ada, "develop") is None
    assert not project.forge.merge_requests(state="open")


# --- publish


@pytest.mark.promise("A1")
def test_publishing_tags_main_once_and_keeps_release_json(project: Project, ada: Git) -> None:
    main = released(project, ada)
    pinned = b'{"bundle": "abc", "version": "0.0.0"}'

    first = publish(ada, project.policy, project.forge, commit=main, release_file=pinned)
    again = publish(ada, project.policy, project.forge, commit=main, release_file=pinned)

    assert (first.tag, first.commit) == ("v1.1.0", main)
    assert "news" in first.notes
    assert [step.outcome for step in again.steps] == ["already", "done"]
    assert (again.tag, again.notes) == (first.tag, first.notes)
    kept = project.forge.root / "flow/releases/v1.1.0/release.json"
    assert json.loads(kept.read_text()) == {"bundle": "abc", "version": "1.1.0"}
    assert Git(project.forge.root)("cat-file", "-t", "v1.1.0") == "tag"


def test_another_content_is_not_published_under_the_same_number(project: Project, ada: Git) -> None:
    main = released(project, ada)
    publish(ada, project.policy, project.forge, commit=main, release_file=b'{"bundle": "abc"}')
    with pytest.raises(ConflictError, match=r"release\.json of v1\.1\.0 is published with another content"):
        publish(ada, project.policy, project.forge, commit=main, release_file=b'{"bundle": "def"}')
    kept = project.forge.root / "flow/releases/v1.1.0/release.json"
    assert json.loads(kept.read_text())["bundle"] == "abc"


@pytest.mark.parametrize("steps", [1, 2])
def test_killed_a_publication_is_carried_on(project: Project, ada: Git, steps: int) -> None:
    main = released(project, ada)
    killed_after(
        steps, lambda listener: publish(ada, project.policy, project.forge, commit=main, listener=listener)
    )
    assert publish(ada, project.policy, project.forge, commit=main).tag == "v1.1.0"
    assert (project.forge.root / "flow/releases/v1.1.0/notes.md").is_file()


def test_the_pipelines_clone_with_a_detached_head_can_publish(
    project: Project, ada: Git, tmp_path: Path
) -> None:
    main = released(project, ada)
    job = Git(tmp_path / "job", person("robot"))
    ada("clone", "--quiet", "--no-checkout", str(project.forge.root), str(job.root))
    job("checkout", "--quiet", main)
    assert publish(job, project.policy, project.forge, commit=main).tag == "v1.1.0"


def test_a_number_that_marks_another_commit_is_refused(project: Project, ada: Git) -> None:
    main = released(project, ada)
    elsewhere = write(ada, {"elsewhere": "1"}, "feat: elsewhere")
    ada.push("HEAD:refs/heads/feature/elsewhere")
    project.forge.create_tag("v1.1.0", elsewhere, "by mistake")
    with pytest.raises(ConflictError, match=r"v1\.1\.0 exists and marks"):
        publish(ada, project.policy, project.forge, commit=main)


def test_a_tag_by_hand_on_what_main_has_never_been_is_no_release_and_is_told(
    project: Project, ada: Git
) -> None:
    feature = ada.commit("origin/develop^2")
    project.forge.create_tag("v5.0.0", feature, "by hand")
    found = forecast(ada, project.policy, "origin/develop")
    assert (found.version, found.next) == ("1.0.0", "1.1.0")
    told = status(ada, project.policy, project.forge)
    assert (told.version, told.stray_tags) == ("1.0.0", ("v5.0.0",))
    assert told.facts()["no releases"] == "v5.0.0: made by hand"
    assert "delete on the server, where they are a mistake: v5.0.0" in told.next
    main = released(project, ada)  # the tag marks an ancestor of it now
    assert publish(ada, project.policy, project.forge, commit=main).tag == "v1.1.0"


def test_a_commit_that_a_later_release_contains_is_not_released_again(project: Project, ada: Git) -> None:
    first = released(project, ada)
    land(project, "more", "fix: more", kind="fix")
    second = released(project, ada)
    assert publish(ada, project.policy, project.forge, commit=second).tag == "v1.1.0"
    with pytest.raises(ConflictError, match=r"part of v1\.1\.0 already"):
        publish(ada, project.policy, project.forge, commit=first)


def test_what_is_not_on_main_is_not_released(project: Project, ada: Git) -> None:
    with pytest.raises(UsageError, match="is not on main"):
        publish(ada, project.policy, project.forge, commit=project.tip("develop"))


def test_a_damaged_release_file_publishes_nothing(project: Project, ada: Git) -> None:
    main = released(project, ada)
    for content in (b"{", b"[1]", b'"x"'):
        with pytest.raises(UsageError):
            publish(ada, project.policy, project.forge, commit=main, release_file=content)
    assert list(ada.remote_tags()) == ["v1.0.0"]


def test_the_next_number_is_known_on_every_branch_of_the_line(project: Project, ada: Git) -> None:
    assert (forecast(ada, project.policy, "origin/develop").version, "1.1.0") == (
        "1.0.0",
        forecast(ada, project.policy, "origin/develop").next,
    )
    out = publish(ada, project.policy, project.forge, commit=released(project, ada))
    # Jobs on production and on staging, repeated after the release.
    for revision in (out.commit, "origin/release", "origin/develop"):
        assert forecast(ada, project.policy, revision).next == "1.1.0"
    land(project, "more", "fix: more", kind="fix")
    found = forecast(ada, project.policy, "origin/develop")
    assert (found.version, found.next) == ("1.1.0", "1.1.1")
    assert "news" not in found.notes
    assert "more" in found.notes
