"""Every kind of replacement, good and bad, while every answer is checked; and replacements that are killed."""

from pathlib import Path

import pytest

from benchmarks.codes import variants
from benchmarks.kills import kill_changes
from benchmarks.swapping import Swapper
from benchmarks.swaps import measured
from cifarops.deployment.code import build_code
from tests.support.releases import checkout
from tests.support.serving import settings_of

pytestmark = pytest.mark.e2e


@pytest.mark.promise("B13", "A5")
def test_swaps_of_every_kind_fail_no_request_and_no_version_answers_out_of_turn(tmp_path: Path) -> None:
    checkout(tmp_path / "checkout")
    settings = settings_of(tmp_path / "workspace")
    swapper = Swapper(settings, *variants(build_code(tmp_path / "checkout", releases=settings.releases)))
    try:
        found = measured(swapper, models=13, codes=3)
    finally:
        swapper.close()
    assert found["first_failures"] == []
    assert found["first_wrong"] == []
    assert (found["failed"], found["wrong"]) == (0, 0)
    assert found["answered"] > 100
    assert set(found["kinds"]) >= {
        "model",
        "model, rolled back",
        "model, refused",
        "model, corrupt",
        "model, unloadable",
        "model, crashing",
        "model, of another shape",
        "code and model",
    }


def test_a_change_that_is_killed_leaves_the_old_version_or_the_new_one_everywhere(tmp_path: Path) -> None:
    found = kill_changes(tmp_path, 10)
    assert found.problems == []
    assert found.before + found.after == 10
