"""Experiments side by side, from what real trainings tracked."""

from pathlib import Path
from typing import Any

import pytest

from cifarops.flow.experiments import PREFIX, compare
from cifarops.training.tracking import Tracker
from cifarops.training.trainer import train
from tests.support.training import tiny_params, tiny_snapshot

pytestmark = pytest.mark.integration


def test_experiments_are_tabled_with_intervals_beside_the_profile_they_vary(tmp_path: Path) -> None:
    snapshot = tiny_snapshot(tmp_path / "snapshots")
    places: dict[str, Any] = {
        "runs": tmp_path / "runs",
        "tracking_uri": f"sqlite:///{tmp_path}/mlflow.db",
        "cache": tmp_path / "cache",
    }
    trained = {}
    for name, epochs in (("smoke", 2), (f"{PREFIX}short", 1), (f"{PREFIX}long", 3), (f"{PREFIX}long", 2)):
        params = tiny_params(epochs=epochs).model_copy(update={"profile": name})
        trained[name] = train(snapshot, params, **places)

    found = compare(Tracker(places["tracking_uri"], runs=places["runs"]))

    assert {each.experiment: each.run for each in found} == {
        name.removeprefix(PREFIX): run.id for name, run in trained.items()
    }
    assert [each.accuracy.value for each in found] == sorted(
        (each.accuracy.value for each in found), reverse=True
    )
    for each in found:
        assert each.accuracy.low <= each.accuracy.value <= each.accuracy.high
        assert (each.images, each.synthetic, each.snapshot) == (90, True, snapshot.id)
    assert compare(Tracker(places["tracking_uri"], runs=places["runs"]), snapshot="0123") == []
