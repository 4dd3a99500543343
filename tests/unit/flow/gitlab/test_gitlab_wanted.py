"""What GitLab is told about names and messages is what the rules say, as far as its regular expressions can say it."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cifarops.errors import UsageError
from cifarops.flow.gitlab import wanted
from cifarops.flow.gitlab.kinds import overlap
from cifarops.flow.gitlab.wanted import ANY_APPROVER, Approver
from cifarops.flow.messages import check_message
from cifarops.flow.policy import POLICY, Policy, load_policy
from cifarops.flow.rules import parse_branch

POLICY_FILE = Path(__file__).parents[4] / POLICY
RULES = load_policy(POLICY_FILE)
LONGEST_PATTERN = 511  # characters that GitLab keeps

kinds = st.sampled_from([*RULES.work, *RULES.protected, "Feature", "features", "", "tmp"])
words = st.text("abz019-_/ .A", min_size=0, max_size=12)
names = st.one_of(
    words,
    st.lists(st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True), min_size=1, max_size=6).map("-".join),
)
endings = st.sampled_from(["", "", "-into-develop", "-into-release", "-into-main", "-into-"])


def admits(pattern: str, text: str) -> bool:
    """Match as GitLab does, with RE2: `\\z` is the very end, `\\s` is ASCII, `^` and `$` are ends of lines."""
    return re.search(pattern.replace(r"\z", r"\Z"), text, re.ASCII | re.MULTILINE) is not None


def is_valid(name: str) -> bool:
    try:
        parse_branch(RULES, name)
    except UsageError:
        return False
    return True


@pytest.mark.promise("A2", "B1")
@given(kinds, names, endings)
@example("hotfix", "a", "-into-develop")
@example("hotfix", "into-develop", "")
@example("hotfix", "", "-into-develop")
@example("feature", "x-into-develop", "")
def test_push_rules_admit_the_branch_names_that_the_rules_admit(kind: str, name: str, ending: str) -> None:
    branch = f"{kind}/{name}{ending}" if name or ending else kind
    assert admits(wanted.branch_pattern(RULES), branch) == is_valid(branch)


def test_the_length_of_a_name_is_left_to_hooks_and_pipeline() -> None:
    longest = "feature/" + "a" * RULES.names.longest
    pattern = wanted.branch_pattern(RULES)
    assert admits(pattern, longest)
    assert is_valid(longest)
    assert admits(pattern, longest + "a")
    assert not is_valid(longest + "a")


headers = st.sampled_from(
    [
        "run tests",
        "do not run tests",
        "Run tests",
        "feat: x",
        "feat(api)!: x",
        "feat:x",
        "feat: ",
        "feature: x",
        "Merge branch 'a' into 'b'",
        "Merge me",
        "Fix it",
        "",
    ]
)
rests = st.sampled_from(
    ["", "\n", " \n", "\n\n", "\n\nbody", "\nbody", "\n \nbody", "\n\nrun tests", "\nfeat: y"]
)


@pytest.mark.promise("A2", "B3")
@given(headers, rests)
def test_push_rules_admit_the_messages_that_the_rules_admit(header: str, rest: str) -> None:
    message = header + rest
    try:
        check_message(RULES, message)
        admitted = True
    except UsageError:
        admitted = False
    assert admits(wanted.message_pattern(RULES), message) == admitted


def test_gitlab_keeps_the_patterns_whole() -> None:
    for pattern in (wanted.branch_pattern(RULES), wanted.message_pattern(RULES)):
        assert len(pattern) <= LONGEST_PATTERN


@pytest.mark.promise("B6", "B12")
@given(st.lists(st.integers(0, 5), min_size=3, max_size=3))
def test_the_rules_of_approval_add_up_to_what_each_branch_asks_for(counts: list[int]) -> None:
    policy = _with_approvals(RULES, dict(zip(RULES.protected, counts, strict=True)))
    rules = wanted.approval_rules(policy, [Approver(1, "ada"), Approver(2, "bob")])
    for branch, asked in zip(policy.protected, counts, strict=True):
        applying = [
            rule["approvals"] for rule in rules.values() if not rule["branches"] or branch in rule["branches"]
        ]
        assert max(applying) == asked
    assert [rule["branches"] for name, rule in rules.items() if name == ANY_APPROVER] == [()]


def _with_approvals(policy: Policy, counts: dict[str, int]) -> Policy:
    document = policy.model_dump(by_alias=True)
    for branch, count in counts.items():
        document["protected"][branch]["approvals"] = count
    return Policy.model_validate(document)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("develop", "develop", True),
        ("*", "develop", True),
        ("dev*", "develop", True),
        ("*lop", "develop", True),
        ("develop*", "develop", True),
        ("develop-*", "develop", False),
        ("release/*", "release", False),
        ("v*", "v1.*", True),
        ("*-rc", "v*", True),
        ("x*", "v*", False),
        ("", "*", True),
    ],
)
def test_patterns_that_share_a_name(one: str, other: str, together: bool) -> None:
    assert overlap(one, other) is together
    assert overlap(other, one) is together


def test_the_schedules_are_those_of_the_pipeline() -> None:
    pipeline = (POLICY_FILE.parent / "ci" / "rules.yml").read_text()
    for name in wanted.schedules(RULES):
        assert f'$SCHEDULE == "{name}"' in pipeline
