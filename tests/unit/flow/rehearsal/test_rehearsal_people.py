from pathlib import Path

import pytest

from cifarops.errors import CifaropsError
from cifarops.flow.git import Git
from cifarops.flow.rehearsal.people import Person, identity
from cifarops.flow.rehearsal.transcript import Line


@pytest.fixture
def heard() -> list[Line]:
    return []


@pytest.fixture
def ada(tmp_path: Path, heard: list[Line]) -> Person:
    Git(tmp_path, identity("ada"))("init", "--quiet", "--initial-branch=main")
    return Person("ada", tmp_path, hear=heard.append)


def test_what_is_done_is_heard(ada: Person, heard: list[Line]) -> None:
    ada.edits({"docs/a.md": lambda old: old + "one\n"})
    ada.git("commit", "--quiet", "-m", "feat: one")
    assert [(line.what, line.outcome) for line in heard] == [
        ("edits docs/a.md", "done"),
        ("git commit --quiet -m 'feat: one'", "done"),
    ]
    assert heard[0].output == "+one"
    assert ada.git("log", "--format=%an %s") == "Ada feat: one"


def test_a_failure_stops_the_story(ada: Person, heard: list[Line]) -> None:
    with pytest.raises(
        CifaropsError, match="ada's `git switch nowhere` failed: fatal: invalid reference: nowhere"
    ):
        ada.git("switch", "nowhere")
    assert heard[-1].outcome == "failed"


def test_a_refusal_that_comes_is_fine(ada: Person, heard: list[Line]) -> None:
    assert "nowhere" in ada.is_refused("invalid reference", "git", "switch", "nowhere")
    assert heard[-1].outcome == "refused"


@pytest.mark.parametrize(
    ("command", "because", "said"),
    [
        (("git", "status"), "protected", "was let through; expected was: protected"),
        (
            ("git", "switch", "nowhere"),
            "protected",
            "was refused for another reason; expected was: protected",
        ),
    ],
)
def test_a_refusal_that_does_not_come_is_a_failure(
    ada: Person, heard: list[Line], command: tuple[str, ...], because: str, said: str
) -> None:
    with pytest.raises(CifaropsError, match=said):
        ada.is_refused(because, *command)
    assert heard[-1].outcome == "failed"
