"""`flow start`, in real clones."""

from pathlib import Path

import pytest

from cifarops.errors import CifaropsError, ConflictError, UnavailableError, UsageError
from cifarops.flow.experiments import load_experiment
from cifarops.flow.git import Git
from cifarops.flow.start import start
from cifarops.flow.status import status
from tests.support.clones import Project, make_project, person, write
from tests.support.crash import killed_after

pytestmark = pytest.mark.flow


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


@pytest.fixture
def clone(project: Project) -> Git:
    return project.clone("cleo")


def test_work_starts_from_develop_as_the_remote_has_it_now(project: Project, clone: Git) -> None:
    other = project.clone("bob")
    write(other, {"news": "1"}, "feat: news")
    other.push("HEAD:refs/heads/feature/news")
    project.merge("feature/news", "develop")

    started = start(clone, project.policy, "feature", "mine", profile="demo")

    assert clone.current_branch() == started.branch == "feature/mine"
    assert clone.commit() == project.tip("develop")


@pytest.mark.promise("B14")
def test_a_hotfix_starts_from_main(project: Project, clone: Git) -> None:
    write(clone, {"news": "1"}, "feat: news")
    clone.push("HEAD:refs/heads/feature/news")
    clone("reset", "--quiet", "--hard", "origin/develop")
    project.merge("feature/news", "develop")

    start(clone, project.policy, "hotfix", "urgent", profile="demo")

    assert clone.commit() == project.tip("main") != project.tip("develop")


def test_an_experiment_carries_a_file_of_overrides_that_can_be_trained(project: Project, clone: Git) -> None:
    start(clone, project.policy, "experiment", "wider", profile="smoke")

    params = load_experiment(clone.root / "params.yaml", "wider")
    assert params.profile == "experiment/wider"
    assert params.train.widths == (16, 32, 32)


def test_an_experiment_lays_its_overrides_over_the_profile(project: Project, clone: Git) -> None:
    start(clone, project.policy, "experiment", "wider", profile="smoke")
    (clone.root / "experiments/wider.yaml").write_text("profile: smoke\noverrides: {train: {epochs: 7}}\n")
    assert load_experiment(clone.root / "params.yaml", "wider").train.epochs == 7


@pytest.mark.parametrize(
    "text", ["profile: smoke\noverides: {}\n", "- 1\n", "profile: smoke\noverrides: 3\n", "a: ["]
)
def test_an_experiment_that_can_not_be_read_is_refused(project: Project, clone: Git, text: str) -> None:
    start(clone, project.policy, "experiment", "wider", profile="smoke")
    (clone.root / "experiments/wider.yaml").write_text(text)
    with pytest.raises(UsageError):
        load_experiment(clone.root / "params.yaml", "wider")


def test_twice_is_once_and_what_was_written_stays(project: Project, clone: Git) -> None:
    start(clone, project.policy, "experiment", "wider", profile="smoke")
    file = clone.root / "experiments/wider.yaml"
    file.write_text("profile: fast\n")
    clone("switch", "--quiet", "develop")

    again = start(clone, project.policy, "experiment", "wider", profile="smoke")

    assert [step.outcome for step in again.steps] == ["already", "done", "already"]
    assert file.read_text() == "profile: fast\n"


@pytest.mark.parametrize("steps", [1, 2])
def test_killed_between_two_steps_it_is_carried_on(project: Project, clone: Git, steps: int) -> None:
    def begin(**options: object) -> None:
        start(clone, project.policy, "experiment", "wider", profile="smoke", **options)  # type: ignore[arg-type]

    killed_after(steps, begin)
    begin()

    assert clone.current_branch() == "experiment/wider"
    assert (clone.root / "experiments/wider.yaml").is_file()


def test_a_dry_run_does_nothing(project: Project, clone: Git) -> None:
    before = clone("for-each-ref", "refs/heads"), clone.current_branch()
    started = start(clone, project.policy, "experiment", "wider", profile="smoke", dry_run=True)
    assert {step.outcome for step in started.steps} == {"would"}
    assert (clone("for-each-ref", "refs/heads"), clone.current_branch()) == before
    assert not (clone.root / "experiments").exists()


def test_a_name_that_somebody_has_is_refused(project: Project, clone: Git) -> None:
    other = project.clone("bob")
    write(other, {"a": "1"}, "feat: a")
    other.push("HEAD:refs/heads/feature/same")
    with pytest.raises(ConflictError, match="feature/same already"):
        start(clone, project.policy, "feature", "same", profile="demo")


@pytest.mark.promise("B1")
@pytest.mark.parametrize(
    ("kind", "name"), [("feature", "Not_OK"), ("feature", ""), ("story", "x"), ("fix", "a/b")]
)
def test_a_bad_name_is_refused(project: Project, clone: Git, kind: str, name: str) -> None:
    with pytest.raises(UsageError):
        start(clone, project.policy, kind, name, profile="demo")
    assert clone.current_branch() == "develop"


def test_changed_files_are_refused(project: Project, clone: Git) -> None:
    (clone.root / "README.md").write_text("changed")
    with pytest.raises(CifaropsError, match="not committed"):
        start(clone, project.policy, "feature", "a", profile="demo")
    assert (clone.root / "README.md").read_text() == "changed"


def test_a_detached_head_is_refused(project: Project, clone: Git) -> None:
    clone("switch", "--quiet", "--detach")
    with pytest.raises(CifaropsError, match="HEAD is detached"):
        start(clone, project.policy, "feature", "a", profile="demo")


def test_commits_of_ones_own_on_develop_are_refused_with_a_way_out_that_works(
    project: Project, clone: Git
) -> None:
    mine = write(clone, {"a": "1"}, "feat: by mistake on develop")
    with pytest.raises(ConflictError, match="has 1 commit that the remote lacks") as caught:
        start(clone, project.policy, "feature", "a", profile="demo")

    for command in caught.value.fix.partition(": ")[2].replace("<name>", "kept").split(" && "):
        clone(*command.split()[1:])
    start(clone, project.policy, "feature", "a", profile="demo")
    assert clone.commit("feature/kept") == mine


def test_a_shallow_clone_is_refused(project: Project, tmp_path: Path) -> None:
    write(git := project.clone("bob"), {"a": "1"}, "feat: a")
    git.push("HEAD:refs/heads/feature/a")
    project.merge("feature/a", "develop")
    shallow = Git(tmp_path / "shallow", person("cleo"))
    git("clone", "--quiet", "--depth=1", project.forge.root.as_uri(), str(shallow.root))
    with pytest.raises(CifaropsError, match="shallow"):
        start(shallow, project.policy, "feature", "b", profile="demo")
    with pytest.raises(CifaropsError, match="shallow") as caught:
        status(shallow, project.policy, None)
    assert "--unshallow" in caught.value.fix


def test_a_remote_that_does_not_answer_is_told(project: Project, clone: Git, tmp_path: Path) -> None:
    clone("remote", "set-url", "origin", str(tmp_path / "gone"))
    with pytest.raises(UnavailableError, match="does not answer"):
        start(clone, project.policy, "feature", "a", profile="demo")
    assert clone.current_branch() == "develop"
