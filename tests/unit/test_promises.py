"""Every promise of docs/reference/process.md is kept by something, and has a test that fails when it is not."""

import re
from pathlib import Path

import pytest

from docs.pages.process import PAGE, marked_tests, process_page, promises

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / PAGE).read_text()
IDS = [*(f"S{n}" for n in range(1, 4)), *(f"B{n}" for n in range(1, 18)), *(f"A{n}" for n in range(1, 7))]
TESTS = marked_tests(ROOT)


def test_the_page_has_every_promise_once_and_in_order() -> None:
    assert [promise.id for promise in promises(TEXT)] == IDS
    assert all(promise.text and promise.kept_by for promise in promises(TEXT))


@pytest.mark.parametrize("promised", IDS)
def test_a_promise_has_a_test(promised: str) -> None:
    assert TESTS.get(promised), f"mark a test that keeps it: @pytest.mark.promise({promised!r})"


def test_marks_name_promises_that_there_are() -> None:
    assert set(TESTS) <= set(IDS)


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    assert [link for link in links if not (ROOT / PAGE.parent / link).exists()] == []


def test_marks_are_found_wherever_they_stand(tmp_path: Path) -> None:
    page = tmp_path / PAGE
    page.parent.mkdir(parents=True)
    page.write_text("| B1 | a | b | old |\n| B2 | c | d |  |\nother | line\n")
    test = tmp_path / "tests" / "unit" / "test_x.py"
    test.parent.mkdir(parents=True)
    test.write_text(
        "import pytest\n"
        'pytestmark = [pytest.mark.flow, pytest.mark.promise("B1")]\n'
        '@pytest.mark.promise("B1", "A1")\n'
        "def test_it(): ...\n"
        "# @pytest.mark.promise('B2')\n"
    )
    lines = process_page(tmp_path).splitlines()
    assert lines == [
        "| B1 | a | b | [test_x.py](../../tests/unit/test_x.py) (2) |",
        "| B2 | c | d |  |",
        "other | line",
    ]
