"""The changes that the people of the rehearsal make fit the files as they are."""

from pathlib import Path

import pytest
import yaml

from cifarops.errors import UsageError
from cifarops.flow.rehearsal.edits import SIZES, SIZES_TEST, Edits, limit, longer_training, one_more_line
from cifarops.flow.rehearsal.runner import LEFT_OUT, SMALL

ROOT = Path(__file__).parents[4]


def edited(edits: Edits, name: str) -> str:
    path = ROOT / name
    return edits[name](path.read_text() if path.exists() else "")


def test_longer_training_changes_the_epochs_of_one_profile_only() -> None:
    before = yaml.safe_load((ROOT / "params.yaml").read_text())
    after = yaml.safe_load(edited(longer_training(7), "params.yaml"))
    assert after["profiles"]["smoke"]["train"].pop("epochs") == 7
    before["profiles"]["smoke"]["train"].pop("epochs")
    assert after == before


def test_a_limit_and_its_test_say_the_same() -> None:
    edits = limit(12)
    names: dict[str, int] = {}
    exec(edited(edits, SIZES), names)
    assert names["MAX_IMAGE_BYTES"] == 12 * 2**20
    assert "MAX_PIXELS" in names
    assert f"== {12 * 2**20}\n" in edited(edits, SIZES_TEST)


def test_a_line_is_appended() -> None:
    assert one_more_line("README.md")["README.md"]("One.\n") == "One.\nOne more line.\n"


def test_a_file_that_looks_otherwise_is_named() -> None:
    with pytest.raises(UsageError, match=r"sizes\.py has 0 places to change"):
        limit(12)[SIZES]("MAX = 1\n")


def test_the_few_tests_are_ones_that_there_are() -> None:
    for names in SMALL.values():
        for name in names.split():
            assert name == SIZES_TEST or (ROOT / name).exists(), name


def test_what_is_left_out_is_a_job() -> None:
    jobs = yaml.load(
        (ROOT / "ci" / "checks.yml").read_text().replace("!reference", ""), Loader=yaml.SafeLoader
    )
    assert set(LEFT_OUT) <= set(jobs)
