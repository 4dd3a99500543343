"""A hotfix on its way to main, develop and release, with conflicts, in real clones."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cifarops.errors import CifaropsError, ConflictError
from cifarops.flow import hotfix, release
from cifarops.flow.freeze import unfreeze
from cifarops.flow.git import Git
from cifarops.flow.git_error import GitError
from cifarops.flow.publish import publish
from cifarops.flow.start import start
from cifarops.flow.status import status
from cifarops.flow.whereabouts import Progress
from tests.support.clones import Project, make_project, write
from tests.support.crash import killed_after

pytestmark = pytest.mark.flow


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


@pytest.fixture
def ada(project: Project) -> Git:
    return project.clone("ada")


def land(project: Project, name: str, files: dict[str, str]) -> None:
    git = project.clone("cleo")
    git("switch", "--quiet", "--detach", "origin/develop")
    write(git, files, f"feat: {name}")
    git.push(f"HEAD:refs/heads/feature/{name}")
    project.merge(f"feature/{name}", "develop")


def prepare_release(project: Project, git: Git) -> None:
    """Bring develop into release, as the next version."""
    git("switch", "--quiet", "develop")
    cut = release.cut(git, project.policy, project.as_user("ada"))
    assert cut.request
    project.merge_number(cut.request.number)
    unfreeze(git, project.policy, project.forge)


def begin(project: Project, git: Git, files: dict[str, str], message: str = "fix: at once") -> None:
    start(git, project.policy, "hotfix", "urgent", profile="demo")
    write(git, files, message)


def finish(project: Project, git: Git, **options: object) -> Progress:
    return hotfix.finish(git, project.policy, project.as_user("ada"), **options)  # type: ignore[arg-type]


def stages(progress: Progress) -> dict[str, str]:
    return {each.target: each.stage for each in progress.targets}


def numbers(progress: Progress) -> dict[str, int]:
    return {each.target: each.request.number for each in progress.targets if each.request}


@pytest.mark.promise("B16", "B17")
def test_a_hotfix_gets_everywhere_and_makes_a_patch_release(project: Project, ada: Git) -> None:
    land(project, "news", {"news": "1"})
    prepare_release(project, ada)
    land(project, "later", {"later": "1"})
    begin(project, ada, {"README.md": "ONE\ntwo\nthree\n"}, "feat: looks like a feature")

    first = finish(project, ada)
    assert stages(first) == {"main": "open", "develop": "waiting", "release": "waiting"}
    main = project.merge_number(numbers(first)["main"])
    assert publish(ada, project.policy, project.forge, commit=main).tag == "v1.0.1"

    (second,) = hotfix.backmerge(ada, project.policy, project.forge)
    assert stages(second) == {"main": "merged", "develop": "open", "release": "open"}
    assert not second.done
    for number in numbers(second).values():
        project.merge_number(number)

    assert finish(project, ada).done
    assert hotfix.backmerge(ada, project.policy, project.forge) == []
    assert {
        Git(project.forge.root)("show", f"{branch}:README.md") for branch in project.policy.protected
    } == {"ONE\ntwo\nthree"}


def test_with_no_release_in_preparation_release_is_left_alone(project: Project, ada: Git) -> None:
    begin(project, ada, {"a": "1"})
    assert set(stages(finish(project, ada))) == {"main", "develop"}


@pytest.mark.promise("B16")
def test_a_conflict_is_told_before_and_after_main_and_the_recipe_resolves_it(
    project: Project, ada: Git
) -> None:
    land(project, "other", {"README.md": "uno\ntwo\nthree\n"})
    begin(project, ada, {"README.md": "ONE\ntwo\nthree\n"})

    first = finish(project, ada)
    assert {each.target: each.conflicts for each in first.targets} == {"main": (), "develop": ("README.md",)}
    project.merge_number(numbers(first)["main"])
    (second,) = hotfix.backmerge(ada, project.policy, project.forge)
    (there,) = (each for each in second.targets if each.target == "develop")
    assert (there.stage, there.conflicts) == ("open", ("README.md",))
    with pytest.raises(GitError, match=r"conflicts with develop in README\.md") as refused:
        project.merge_number(numbers(second)["develop"])
    assert (
        "hotfix/urgent-into-develop" in refused.value.fix
    )  # merging develop into the hotfix itself is forbidden
    (note,) = project.forge._store.read().requests[-1].notes.values()
    assert "README.md" in note

    fetch, switch, merge, *_ = there.recipe.splitlines()
    ada(*fetch.split()[1:])
    ada(*switch.split()[1:])
    assert ada.run(*merge.split()[1:]).returncode == 1
    write(ada, {"README.md": "UNO\ntwo\nthree\n"}, "fix: both")
    third = finish(project, ada)
    assert stages(third) == {"main": "merged", "develop": "open"}
    project.merge_number(numbers(third)["develop"])

    assert hotfix.backmerge(ada, project.policy, project.forge) == []
    assert not project.forge.merge_requests(state="open")


@pytest.mark.promise("B14")
def test_a_hotfix_that_contains_develop_does_not_get_into_main(project: Project, ada: Git) -> None:
    land(project, "news", {"news": "1"})
    begin(project, ada, {"a": "1"})
    ada("merge", "--quiet", "--no-edit", "origin/develop")
    number = numbers(finish(project, ada))["main"]
    with pytest.raises(GitError, match="starts from main and from nowhere else"):
        project.merge_number(number)


@pytest.mark.promise("A5")
def test_a_hotfix_of_the_model_alone_needs_a_commit_that_changes_no_file(project: Project, ada: Git) -> None:
    start(ada, project.policy, "hotfix", "urgent", profile="demo")
    with pytest.raises(CifaropsError, match="no commit") as caught:
        finish(project, ada)
    assert "cifarops deploy rollback" in caught.value.fix
    assert "--allow-empty" in caught.value.fix

    write(ada, {}, "fix: production runs the previous model again")
    first = finish(project, ada)
    assert "changes no file" in project.forge._store.read().requests[-1].description
    main = project.merge_number(numbers(first)["main"])
    assert publish(ada, project.policy, project.forge, commit=main).tag == "v1.0.1"
    (second,) = hotfix.backmerge(ada, project.policy, project.forge)
    project.merge_number(numbers(second)["develop"])
    assert finish(project, ada).done


def test_a_hotfix_branch_that_was_deleted_is_restored(project: Project, ada: Git) -> None:
    begin(project, ada, {"a": "1"})
    project.merge_number(numbers(finish(project, ada))["main"])
    ada.push(":refs/heads/hotfix/urgent")
    (progress,) = hotfix.backmerge(ada, project.policy, project.forge)
    assert stages(progress) == {"main": "merged", "develop": "open"}
    assert project.tip("hotfix/urgent") == ada.commit("hotfix/urgent")


@pytest.mark.parametrize("steps", [1, 2])
def test_killed_a_finish_is_carried_on(project: Project, ada: Git, steps: int) -> None:
    begin(project, ada, {"a": "1"})
    killed_after(steps, lambda listener: finish(project, ada, listener=listener))
    assert stages(finish(project, ada)) == {"main": "open", "develop": "waiting"}
    assert len(project.forge.merge_requests()) == 1


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_killed_a_backmerge_is_carried_on(project: Project, ada: Git, steps: int) -> None:
    land(project, "other", {"README.md": "uno\ntwo\nthree\n"})
    prepare_release(project, ada)
    begin(project, ada, {"README.md": "ONE\ntwo\nthree\n"})
    project.merge_number(numbers(finish(project, ada))["main"])
    killed_after(
        steps, lambda listener: hotfix.backmerge(ada, project.policy, project.forge, listener=listener)
    )
    (progress,) = hotfix.backmerge(ada, project.policy, project.forge)
    assert stages(progress) == {"main": "merged", "develop": "open", "release": "open"}
    assert len(project.forge.merge_requests(state="open")) == 2
    assert all(each.notes for each in project.forge._store.read().requests[-2:])


def test_a_job_does_not_restore_a_branch_that_was_deleted(project: Project, ada: Git) -> None:
    begin(project, ada, {"a": "1"})
    project.merge_number(numbers(finish(project, ada))["main"])
    commit = ada.commit()
    ada.push(":refs/heads/hotfix/urgent")
    with pytest.raises(CifaropsError, match="missing in develop, and was deleted") as caught:
        hotfix.backmerge(ada, project.policy, project.forge, restore=False)
    assert f"git push origin {commit}:refs/heads/hotfix/urgent && cifarops flow backmerge" in caught.value.fix
    assert ada.remote_branch("hotfix/urgent") is None
    (progress,) = hotfix.backmerge(ada, project.policy, project.forge)
    assert "restore hotfix/urgent" in progress.steps[0].what
    assert ada.remote_branch("hotfix/urgent") == commit


def test_a_hotfix_that_has_diverged_is_told_how_to_come_together(project: Project, ada: Git) -> None:
    begin(project, ada, {"a": "1"})
    finish(project, ada)
    ada("commit", "--quiet", "--amend", "-m", "fix: another try")
    with pytest.raises(ConflictError, match=r"diverged: 1 commit here .* and 1 commit there") as caught:
        finish(project, ada)
    assert "git rebase origin/hotfix/urgent" in caught.value.fix


def test_a_dry_run_pushes_nothing(project: Project, ada: Git) -> None:
    begin(project, ada, {"a": "1"})
    progress = finish(project, ada, dry_run=True)
    assert [step.outcome for step in progress.steps] == ["would", "would"]
    assert ada.remote_branch("hotfix/urgent") is None
    assert not project.forge.merge_requests()


def test_only_a_hotfix_is_finished_so(project: Project, ada: Git) -> None:
    start(ada, project.policy, "feature", "calm", profile="demo")
    with pytest.raises(CifaropsError, match="feature/calm is no hotfix"):
        finish(project, ada)


@pytest.mark.promise("B16")
def test_a_release_on_its_way_says_that_it_lacks_a_hotfix(project: Project, ada: Git) -> None:
    land(project, "news", {"news": "1"})
    begin(project, ada, {"a": "1"})
    project.merge_number(numbers(finish(project, ada))["main"])
    lacks = "hotfix/urgent, which main has and {} lacks: cifarops flow backmerge"

    cut = release.cut(ada, project.policy, project.as_user("ada"))
    assert cut.missing[0] == lacks.format("develop")
    assert cut.request
    project.merge_number(cut.request.number)
    assert release.finish(ada, project.policy, project.as_user("ada")).missing[0] == lacks.format("release")


# --- status


@pytest.mark.promise("B10", "B16")
def test_status_tells_what_is_frozen_open_and_next(project: Project, ada: Git) -> None:
    calm = status(ada, project.policy, project.forge)
    assert (calm.branch, calm.version, calm.freeze, calm.hotfixes) == ("develop", "1.0.0", None, ())
    (begin_work,) = calm.next  # there is nothing to cut a release of
    assert begin_work.startswith("cifarops flow start")

    land(project, "news", {"news": "1"})
    assert "cifarops flow release cut" in status(ada, project.policy, project.forge).next
    release.cut(ada, project.policy, project.as_user("ada"))
    begin(project, ada, {"a": "1"})
    number = numbers(finish(project, ada))["main"]
    busy = status(ada, project.policy, project.forge)
    assert busy.freeze
    assert (busy.freeze.by, busy.freeze.stale) == ("Ada <ada@example.org>", False)
    assert [each.branch for each in busy.hotfixes] == ["hotfix/urgent"]
    later = status(ada, project.policy, project.forge, now=datetime.now(UTC) + timedelta(hours=80))
    assert later.freeze
    assert (later.freeze.stale, round(later.freeze.hours)) == (True, 80)
    assert "forgotten? Lift it: cifarops flow unfreeze" in (later.facts()["freeze"] or "")
    assert busy.requests
    assert {each.target for each in busy.requests} == {"release", "main"}

    project.merge_number(number)
    after = status(ada, project.policy, project.forge)
    assert after.next[0] == "cifarops flow backmerge"
    assert "hotfix/urgent is missing in develop" in (after.facts()["hotfixes under way"] or "")


def test_status_works_where_nothing_else_would(project: Project, ada: Git) -> None:
    (ada.root / "README.md").write_text("changed")
    ada("switch", "--quiet", "--detach")
    found = status(ada, project.policy, None)
    assert (found.branch, found.is_valid, found.dirty, found.requests) == (None, False, True, None)
    ada("switch", "--quiet", "-c", "Wrong_Name")
    assert status(ada, project.policy, None).next[0] == "cifarops flow check branch Wrong_Name"
