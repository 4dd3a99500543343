"""What may merge, be pushed and be a name: the rules against the tables of policy.yaml, read independently."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cifarops.errors import UsageError
from cifarops.flow.freeze import Freeze
from cifarops.flow.policy import load_policy
from cifarops.flow.rules import may_merge, may_push, nearest_branch, parse_branch

FILE = Path(__file__).parents[3] / "policy.yaml"
POLICY = load_policy(FILE)
TABLES: dict[str, Any] = yaml.safe_load(FILE.read_text())
FROZEN = Freeze("develop", "Ada <ada@example.org>", datetime(2026, 11, 1, 9, tzinfo=UTC), "1.2.0", "1.2.0")

words = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,3}", fullmatch=True)
work_branches = st.builds("{}/{}".format, st.sampled_from(list(TABLES["work"])), words)
resolving = st.builds("hotfix/{}-into-{}".format, words, st.sampled_from(["develop", "release", "main"]))
junk = st.text(max_size=70) | st.builds(
    "{}/{}".format, st.sampled_from(list(TABLES["work"])), st.text(max_size=60)
)
branches = work_branches | resolving | st.sampled_from(list(TABLES["protected"])) | junk


def kind_and_resolution(branch: str) -> tuple[str, str | None] | None:
    """Read a name as DESIGN says it, with no code of the project."""
    if branch in TABLES["protected"]:
        return branch, None
    found = re.fullmatch(r"(feature|fix|experiment|hotfix)/([a-z0-9]+(?:-[a-z0-9]+)*)", branch)
    if not found:
        return None
    kind, name = found.groups()
    resolution = re.fullmatch(r"(.+)-into-(develop|release)", name) if kind == "hotfix" else None
    if len(resolution[1] if resolution else name) > 50:
        return None
    return kind, resolution[2] if resolution else None


@pytest.mark.promise("A2", "B9", "B12")
@given(branches, branches)
def test_merges_agree_with_the_policys_tables(source: str, target: str) -> None:
    read = kind_and_resolution(source)
    expected = (
        read is not None
        and target in TABLES["protected"]
        and read[0] in TABLES["protected"][target]["accepts"]
        and read[1] in (None, target)
    )
    answer = may_merge(POLICY, source, target)
    assert answer.allowed == expected
    assert answer.reason
    assert bool(answer.instead) == (not expected)


@pytest.mark.promise("B8")
@given(branches, branches)
def test_a_freeze_refuses_its_branch_and_nothing_else(source: str, target: str) -> None:
    thawed = may_merge(POLICY, source, target)
    frozen = may_merge(POLICY, source, target, frozen=FROZEN)
    if target == "develop" and thawed.allowed:
        assert not frozen.allowed
        assert "Ada" in frozen.reason
        assert "1.2.0" in frozen.reason
        assert "flow unfreeze" in frozen.instead
    else:
        assert frozen == thawed


@pytest.mark.promise("B1")
@given(branches)
def test_names_are_valid_as_the_policy_says_and_the_nearest_is_too(text: str) -> None:
    read = kind_and_resolution(text)
    if read is not None:
        branch = parse_branch(POLICY, text)
        assert (branch.kind, branch.resolves, branch.full) == (*read, text)
        return
    with pytest.raises(UsageError) as refusal:
        parse_branch(POLICY, text)
    nearest = nearest_branch(POLICY, text)
    if nearest is not None:
        assert parse_branch(POLICY, nearest).full == nearest
        assert nearest in refusal.value.fix


@pytest.mark.promise("B4", "B12")
@given(branches)
def test_only_work_branches_are_pushed_to(branch: str) -> None:
    read = kind_and_resolution(branch)
    assert may_push(POLICY, branch).allowed == (read is not None and read[0] in TABLES["work"])


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("Feature/Foo_Bar", "feature/foo-bar"),
        ("feat/x", "feature/x"),
        ("bugfix/y", "fix/y"),
        ("hot-fix/Crash on start!", "hotfix/crash-on-start"),
        ("Main", "main"),
        ("my thing", "feature/my-thing"),
        ("fix/Überlauf", "fix/uberlauf"),
        ("fix/" + "a" * 49 + "-bcd", "fix/" + "a" * 49),
        ("fix/---", None),
        ("", None),
    ],
)
def test_the_nearest_name(text: str, nearest: str | None) -> None:
    assert nearest_branch(POLICY, text) == nearest


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("fix/x", "main", ["develop -> release -> main", "flow start hotfix"]),
        ("experiment/x", "release", ["develop -> release"]),
        ("main", "develop", ["flow start hotfix"]),
        ("develop", "feature/x", ["git merge origin/develop"]),
        ("hotfix/x-into-release", "main", ["hotfix/x itself"]),
    ],
)
def test_a_refusal_says_what_to_do_instead(source: str, target: str, words: list[str]) -> None:
    answer = may_merge(POLICY, source, target)
    assert not answer.allowed
    assert all(word in answer.instead for word in words)
