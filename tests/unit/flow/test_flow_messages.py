from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarops.errors import UsageError
from cifarops.flow.messages import asks_for_tests, check_message
from cifarops.flow.policy import load_policy

POLICY = load_policy(Path(__file__).parents[3] / "policy.yaml")


@pytest.mark.promise("B3")
@pytest.mark.parametrize(
    "text", ["run tests", "run tests\n", "run tests\n\n", "run tests\r\n", "run tests  \n"]
)
def test_run_tests_is_known(text: str) -> None:
    assert check_message(POLICY, text) == "run tests"
    assert asks_for_tests(POLICY, text)


@pytest.mark.promise("B3")
@pytest.mark.parametrize(
    "text",
    [
        "do not run tests",
        "run tests please",
        " run tests",
        "\nrun tests",
        "Run tests",
        "run  tests",
        "run tests\n\nnow",
        "run tests\v",
        "run tests\u00a0",
        "run tests.",
    ],
)
def test_what_is_not_exactly_run_tests_is_refused(text: str) -> None:
    assert not asks_for_tests(POLICY, text)
    with pytest.raises(UsageError) as refusal:
        check_message(POLICY, text)
    assert "run tests" in refusal.value.fix


@pytest.mark.promise("B3")
def test_a_body_that_says_run_tests_runs_none() -> None:
    assert check_message(POLICY, "feat: a thing\n\nrun tests\n") == "conventional"


@pytest.mark.promise("B3")
@given(st.text())
def test_no_other_message_asks_for_tests(text: str) -> None:
    assert asks_for_tests(POLICY, text) == (text.rstrip("\t\n\f\r ") == "run tests")
    assert not asks_for_tests(POLICY, f"{text}x run tests")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("feat: a thing", "conventional"),
        ("fix(serving)!: a thing\n\nwhy\n", "conventional"),
        ("feat: a thing\r\n\r\nwhy\r\n", "conventional"),
        ("Merge branch 'fix/x' into 'develop'\n\nfix: x\n\nSee merge request !1", "merge"),
        ("Merge remote-tracking branch 'origin/develop' into hotfix/x-into-develop", "merge"),
        ("Merge commit 'a1b2c3' into release", "merge"),
    ],
)
def test_admitted(text: str, kind: str) -> None:
    assert check_message(POLICY, text) == kind


@pytest.mark.parametrize(
    ("text", "fix"),
    [
        ("", "Write '<type>:"),
        ("added a thing", "Write '<type>:"),
        ("Feat: a thing", "feat: a thing"),
        ("feature: a thing", "feat: a thing"),
        (" feat: a thing", "feat: a thing"),
        ('Revert "feat: a thing"', "revert: feat: a thing"),
        ("fix a thing", "Write '<type>:"),
        ("fix:a thing", "fix: a thing"),
        ("fix: ", "Write '<type>:"),
        ("Merge everything", "Write '<type>:"),
        ("feat: a thing\nand another", "second line empty"),
        ("Run Tests!", "git commit --allow-empty -m 'run tests'"),
    ],
)
def test_refused_with_the_nearest_form(text: str, fix: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_message(POLICY, text)
    assert fix in refusal.value.fix


@given(st.text())
def test_a_header_of_any_type_and_subject_is_admitted(subject: str) -> None:
    lines = subject.split("\n")
    if lines[0].strip() and not lines[0][0].isspace() and len(lines) == 1:
        assert check_message(POLICY, f"feat: {subject}") == "conventional"
        with pytest.raises(UsageError):
            check_message(POLICY, f"feat {subject}".replace(":", ""))
