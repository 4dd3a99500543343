import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarops.flow.policy import POLICY, load_policy
from cifarops.flow.version import FIRST, Change, Version, changelog, next_version, parse_change
from tests.support.clones import ROOT

RULES = load_policy(ROOT / POLICY)
SHA = "0123456789" * 4
numbers = st.integers(0, 10**6)
versions = st.builds(Version, numbers, numbers, numbers)


def change(message: str) -> Change:
    return parse_change(RULES, SHA, message)


@given(versions)
def test_a_version_is_read_as_it_is_written(version: Version) -> None:
    assert Version.parse(str(version)) == version


@pytest.mark.parametrize("text", ["", "1.2", "1.2.3.4", "01.2.3", "v1.2.3", "1.2.3-rc1", " 1.2.3", "1.2.３"])
def test_what_is_no_version_is_none(text: str) -> None:
    assert Version.parse(text) is None


@given(
    versions,
    st.lists(st.sampled_from(["feat: a", "fix: b", "feat!: c", "run tests", "words"])),
    st.booleans(),
)
def test_the_next_version_is_always_greater(last: Version, messages: list[str], only_hotfixes: bool) -> None:
    assert next_version(last, [change(each) for each in messages], only_hotfixes=only_hotfixes) > last


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        (["fix: a"], "1.2.4"),
        (["docs: a"], "1.2.4"),
        (["no form at all"], "1.2.4"),
        ([], "1.2.4"),
        (["fix: a", "feat: b"], "1.3.0"),
        (["feat(data): b"], "1.3.0"),
        (["feat!: c"], "2.0.0"),
        (["fix(cli)!: c", "feat: b"], "2.0.0"),
        (["fix: c\n\nBREAKING CHANGE: the old bundles can't be read"], "2.0.0"),
        (["fix: c\n\nnothing BREAKING CHANGE: about it"], "1.2.4"),
    ],
)
def test_the_commits_decide_which_number_grows(messages: list[str], expected: str) -> None:
    changes = [change(each) for each in messages]
    assert str(next_version(Version(1, 2, 3), changes, only_hotfixes=False)) == expected


@pytest.mark.promise("B17")
def test_after_hotfixes_the_patch_number_grows_whatever_the_commits_say() -> None:
    assert str(next_version(Version(1, 2, 3), [change("feat!: all new")], only_hotfixes=True)) == "1.2.4"


def test_before_the_first_release_comes_the_first() -> None:
    assert next_version(None, [change("feat!: all new")], only_hotfixes=False) == FIRST


def test_before_1_a_breaking_change_is_a_minor_one() -> None:
    assert str(next_version(Version(0, 3, 1), [change("feat!: c")], only_hotfixes=False)) == "0.4.0"


def test_the_changelog_tells_what_breaks_first_and_no_triggers() -> None:
    told = changelog(
        [
            change("fix: a truck is no car"),
            change("run tests\n"),
            change("feat(serving): answers in JSON\n\nBREAKING CHANGE: XML is gone"),
            change("docs: how to deploy"),
            change("Anything else"),
        ],
        title="2.0.0",
    )
    assert told == (
        "## 2.0.0\n\n### Breaking\n\n- XML is gone (01234567)\n\n"
        "### Features\n\n- **serving**: answers in JSON (01234567)\n\n"
        "### Fixes\n\n- a truck is no car (01234567)\n\n"
        "### Other\n\n- how to deploy (01234567)\n- Anything else (01234567)\n"
    )


def test_a_changelog_of_nothing_says_so() -> None:
    assert changelog([change("run tests")]) == "No changes.\n"
