from pathlib import Path

import pytest

from cifarops.errors import UnavailableError
from cifarops.evaluation.costs import measure_costs
from tests.support.bundles import colour_bundle


def test_costs_are_those_of_the_file_that_answers(tmp_path: Path) -> None:
    bundle = colour_bundle(tmp_path)
    costs = measure_costs(bundle)
    file = bundle.int8_path if costs.precision == "int8" else bundle.model_path
    assert costs.size_mb == file.stat().st_size / 1e6
    assert 0 < costs.fastest_ms <= costs.median_ms
    assert 20 < costs.memory_mb < 400  # whatever the process of the tests has used


def test_a_bundle_that_vanished_is_said(tmp_path: Path) -> None:
    bundle = colour_bundle(tmp_path)
    (bundle.path / "stranger").write_text("does not belong to it")
    with pytest.raises(UnavailableError, match="could not be measured"):
        measure_costs(bundle)
