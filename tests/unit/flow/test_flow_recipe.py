"""A recipe names what decides the bytes of a model, and nothing else."""

from pathlib import Path

import pytest

from cifarops.config import load_params
from cifarops.errors import UsageError
from cifarops.flow.git import Git
from cifarops.flow.recipe import MAKERS, recipe_of
from tests.support.clones import ROOT, person, write

PARAMS = load_params(ROOT / "params.yaml", "smoke")


@pytest.fixture
def git(tmp_path: Path) -> Git:
    found = Git(tmp_path, person("ada"))
    found("init", "--quiet", "--initial-branch=develop")
    write(found, {path if "." in path else f"{path}/code.py": path for path in MAKERS}, "feat: begin")
    return found


def test_every_maker_is_in_this_project() -> None:
    assert [path for path in MAKERS if not (ROOT / path).exists()] == []


def test_a_commit_that_touches_no_maker_has_the_same_recipe(git: Git) -> None:
    before = recipe_of(git, PARAMS, None)
    write(git, {"docs/page.md": "words", "src/cifarops/serving/app.py": "code"}, "docs: words")
    after = recipe_of(git, PARAMS, None)
    assert after.commit != before.commit
    assert after.id == before.id


@pytest.mark.parametrize("path", MAKERS)
def test_a_change_of_any_maker_is_another_recipe(git: Git, path: str) -> None:
    before = recipe_of(git, PARAMS, None)
    write(git, {path if "." in path else f"{path}/new.py": "new"}, "feat: another way")
    assert recipe_of(git, PARAMS, None).id != before.id


def test_parameters_and_origin_count_but_the_monitoring_does_not(git: Git) -> None:
    def with_(**overrides: object) -> str:
        return recipe_of(git, load_params(ROOT / "params.yaml", "smoke", dict(overrides)), None).id

    before = recipe_of(git, PARAMS, None).id
    assert with_(monitor={"window": 400}) == before
    assert with_(train={"seed": 1}) != before
    assert with_(data={"seed": 1}) != before
    assert recipe_of(git, PARAMS, "images.tar").id != before


def test_changes_that_no_commit_holds_are_refused(git: Git) -> None:
    (git.root / "constraints.txt").write_text("changed")
    with pytest.raises(UsageError, match="changes that no commit holds"):
        recipe_of(git, PARAMS, None)


def test_a_commit_of_something_else_is_refused(tmp_path: Path) -> None:
    git = Git(tmp_path, person("ada"))
    git("init", "--quiet")
    write(git, {"README.md": "else"}, "feat: something else")
    with pytest.raises(UsageError, match=r"has no constraints\.txt, src/cifarops/bundle"):
        recipe_of(git, PARAMS, None)
