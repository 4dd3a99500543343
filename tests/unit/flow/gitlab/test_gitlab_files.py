from pathlib import Path

import pytest

from cifarops.flow.gitlab.features import Feature
from cifarops.flow.gitlab.files import differing_files, wanted_files, write_files
from cifarops.flow.policy import POLICY, Policy, load_policy

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(ROOT / POLICY)


@pytest.mark.promise("A2", "B6")
def test_the_files_of_this_project_are_those_of_its_policy(policy: Policy) -> None:
    assert differing_files(policy, ROOT) == [], "run: cifarops flow gitlab files"


def test_only_what_differs_is_written(policy: Policy, tmp_path: Path) -> None:
    written = write_files(policy, tmp_path)
    assert written == list(wanted_files(policy))
    assert write_files(policy, tmp_path) == []
    (tmp_path / written[0]).write_text("* @somebody\n")
    assert write_files(policy, tmp_path) == [written[0]]


def test_what_decides_about_everything_else_belongs_to_maintainers(policy: Policy) -> None:
    owners = wanted_files(policy)[Path(".gitlab/CODEOWNERS")]
    for path in ("/policy.yaml", "/.gitlab-ci.yml", "/ci/", "/.gitlab/"):
        assert f"{path} @@maintainer" in owners.splitlines()
        assert (ROOT / path.lstrip("/")).exists()


def test_there_is_a_template_for_each_way_that_changes_go(policy: Policy) -> None:
    templates = {path.stem for path in wanted_files(policy) if path.suffix == ".md"}
    assert templates == {"Default", *policy.work, "develop-into-release", "release-into-main"}


def test_the_documentation_says_what_a_free_server_lacks() -> None:
    page = (ROOT / "docs" / "how-to" / "gitlab.md").read_text()
    for feature in Feature:
        assert feature.gap.feature in page
        for promise in feature.gap.promises:
            assert promise in page
