"""The drill, from the command line, on a small trained network."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cifarops.cli.main import build
from cifarops.packaging.export import package
from cifarops.settings import Settings
from tests.support.serving import settings_of
from tests.support.snapshots import colour_snapshot
from tests.support.training import PARAMS, made_run, tiny_params

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("CIFAROPS_WORKSPACE", str(tmp_path))
    return settings_of(tmp_path)


def test_known_changes_are_played_scored_and_written(settings: Settings, tmp_path: Path) -> None:
    snapshot = colour_snapshot(settings.snapshots, size=16, wrong=0.0)
    package(made_run(settings.runs, snapshot, tiny_params(batch_size=16)), snapshot, bundles=settings.bundles)
    scenarios = tmp_path / "scenarios"
    scenarios.mkdir()
    (scenarios / "lens.yaml").write_text("requests: 700\nchanges: [{what: constant, start: 300}]\n")
    arguments = ["monitor", "drill", "--scenarios", str(scenarios), "--params", str(PARAMS), "--json"]
    result = CliRunner().invoke(build(), arguments)
    document = json.loads(result.stdout)
    (played,) = document["played"]
    assert played["truth"] == "broken input"
    assert len(played["evidence"]) == 7
    assert document["score"]["scenarios"] == 1
    assert document["score"]["found"] + document["score"]["missed"] + document["score"]["false_alarms"] == 1
    assert result.exit_code == (1 if document["score"]["missed"] or document["score"]["false_alarms"] else 0)
    table, plot = (Path(path).read_text() for path in document["files"][1:])
    assert "| lens | broken input |" in table
    assert plot.startswith("<?xml")
