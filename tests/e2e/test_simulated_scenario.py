"""A scenario played against a real server, and what monitoring makes of its traffic."""

import json
from pathlib import Path

import pytest

from cifarops.bundle.store import Bundle
from cifarops.config import MonitorParams
from cifarops.data.preprocess import Preprocessing
from cifarops.data.snapshot import SourceInfo, write_snapshot
from cifarops.deployment.process import ServerProcess
from cifarops.ledger.store import Ledger
from cifarops.monitoring.check import check
from cifarops.packaging.export import package
from cifarops.settings import Settings
from cifarops.simulation.perform import perform
from cifarops.simulation.play import open_stage
from cifarops.simulation.scenario import Scenario
from tests.support.serving import set_version, settings_of
from tests.support.snapshots import colour_arrays
from tests.support.training import made_run, tiny_params

pytestmark = pytest.mark.e2e


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


@pytest.fixture
def bundle(settings: Settings) -> Bundle:
    """A small trained network on images that count as real, so that traffic is drawn from `valid`."""
    splits = {
        split: colour_arrays(count, size=16, seed=seed)
        for seed, (split, count) in enumerate({"train": 192, "valid": 400, "test": 30}.items())
    }
    snapshot = write_snapshot(
        settings.snapshots,
        splits,  # type: ignore[arg-type]
        classes=("red", "green", "blue"),
        preprocessing=Preprocessing.fitted(splits["train"][0]),
        source=SourceInfo(kind="folder", name="colours", sha256="0" * 64),
        seed=0,
    )
    return package(made_run(settings.runs, snapshot, tiny_params()), snapshot, bundles=settings.bundles)


def test_a_scenario_is_played_with_its_truth_kept_and_is_recognised(
    settings: Settings, bundle: Bundle
) -> None:
    set_version(settings.ledger, 1, bundle)
    scenario = Scenario.model_validate(
        {
            "name": "inverted",
            "requests": 500,
            "changes": [{"what": "inverted", "start": 300}],
            "labels": {"coverage": 0.5, "delay": 50, "wrong": 0.1},
            "spikes": [{"start": 100, "end": 200, "workers": 8}],
        }
    )
    params = MonitorParams(window=200, drift_alpha=0.01, max_accuracy_drop=0.05, min_labels=50)
    with ServerProcess("production", workspace=settings.workspace, keep_images=True):
        stage = open_stage("production", settings=settings, seed=0)
        played = perform(scenario, stage, folder=settings.monitoring / "simulated")
    assert (played["sent"], played["failed"], played["labels_refused"]) == (500, 0, 0)
    assert 180 < played["labels"] < 320
    lines = [json.loads(line) for line in Path(played["ground_truth"]).read_text().splitlines()]
    assert len(lines) == 500
    with Ledger(settings.ledger) as ledger:
        report = check(
            "production",
            ledger=ledger,
            bundles=settings.bundles,
            snapshots=settings.snapshots,
            folder=settings.monitoring,
            params=params,
            actor="ada",
        )
        assert set(ledger.window("production", last=1000).ids) == {line["prediction_id"] for line in lines}
    assert report.drift.drift
    assert 300 < report.drift.predictions < 400
    assert report.drift.diagnosis is not None
    assert (report.drift.diagnosis.kind, report.drift.diagnosis.cause) == ("broken input", "inverted")
    assert report.drift.examples is not None
    assert 0.4 < report.labels.coverage < 0.6
