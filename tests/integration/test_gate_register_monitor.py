"""The commands from a bundle to a watched version, on real bundles, in one workspace."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from cifarops.cli.main import build
from cifarops.ledger.records import Decision, Prediction
from cifarops.ledger.store import Ledger
from tests.support.bundles import colour_bundle, colour_image
from tests.support.snapshots import colour_snapshot

pytestmark = pytest.mark.integration
PARAMS = ("--params", str(Path(__file__).parents[2] / "params.yaml"), "--profile", "smoke")


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CIFAROPS_WORKSPACE", str(tmp_path))
    monkeypatch.delenv("CIFAROPS_TRACKING_URI", raising=False)
    return tmp_path


def cli(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(build(), arguments)
    assert result.exit_code == code, result.output
    return result


def answer(*arguments: str, code: int = 0) -> Any:
    return json.loads(cli(*arguments, "--json", code=code).stdout)


def refusal(*arguments: str, code: int) -> str:
    """What a refused command says, on one line."""
    return " ".join(cli(*arguments, code=code).stderr.split())


@pytest.mark.promise("S1")
def test_from_bundle_to_watched_version(workspace: Path) -> None:
    snapshot = colour_snapshot(workspace / "snapshots", test=2000)
    good = colour_bundle(workspace / "bundles", sharpness=2.0)
    pointer = workspace / "bundle.json"
    pointer.write_text(json.dumps({"bundle": good.digest}))
    named = (str(pointer), "--snapshot", snapshot.id)

    report = answer("evaluate", "report", *named, "--out", str(workspace / "metrics.json"))
    assert report["measured"]["accuracy"]["value"] == pytest.approx(0.9)
    assert json.loads((workspace / "metrics.json").read_text())["accuracy"] == pytest.approx(0.9)

    assert "has not judged" in refusal("registry", "register", good.digest, code=2)
    verdict = answer("evaluate", "gate", *named, "--out", str(workspace / "verdict.json"))
    assert verdict["answer"] == "promote"
    assert verdict["synthetic"] is True

    registered = answer("registry", "register", str(pointer), "--verdict", str(workspace / "verdict.json"))
    assert registered["version"] == 1
    assert answer("registry", "register", good.digest)["version"] == 1
    (version,) = answer("registry", "list")
    assert (version["digest"], version["aliases"]) == (good.digest, ["candidate"])
    assert answer("registry", "show", "1")["evidence"] == verdict
    assert "PROMOTE" in cli("registry", "show", "1").stdout
    (workspace / "photos").mkdir()
    (workspace / "photos" / "red.png").write_bytes(colour_image("red"))
    scoring = ("predict", str(workspace / "photos"), "--out", str(workspace / "rows.csv"))
    scored = answer(*scoring, "--version", "1")
    assert (scored["images"], scored["unreadable"], scored["bundle"]) == (1, 0, good.digest)
    assert "\nred.png,red," in (workspace / "rows.csv").read_text()
    assert "already there" in refusal(*scoring, "--version", "1", code=2)

    _run_in_production(workspace, good.digest)
    bad = colour_bundle(workspace / "bundles", rotation=1)
    rejected = answer("evaluate", "gate", bad.digest, "--snapshot", snapshot.id, code=1)
    assert rejected["answer"] == "reject"
    assert rejected["incumbent"] == good.digest
    assert "is reject" in refusal("registry", "register", bad.digest, code=2)
    assert answer("evaluate", "incumbent", bad.digest)["incumbent"] == good.digest
    assert answer("evaluate", "incumbent", good.digest)["incumbent"] is None  # it replaced nothing
    again = answer("evaluate", "gate", good.digest, "--snapshot", snapshot.id)
    assert (again["answer"], again["incumbent"]) == ("promote", None)

    quiet = answer("monitor", "check", "--fail-on-alarm", *PARAMS)
    assert (quiet["alarms"], quiet["drift"]["p_value"]) == ([], None)
    _answer_unsurely(workspace)
    assert answer("monitor", "check", *PARAMS)["alarms"] == ["drift_alarm"]
    assert answer("monitor", "check", "--fail-on-alarm", *PARAMS, code=1)["alarms"] == ["drift_alarm"]
    with Ledger(workspace / "ledger.db") as ledger:
        kinds = [decision.kind for decision in ledger.decisions()]
    assert kinds.count("drift_alarm") == 1
    assert kinds.count("test_look") == kinds.count("gate") == 3


def test_a_corrupt_registry_is_explained(workspace: Path) -> None:
    (workspace / "mlflow.db").write_bytes(b"not a database" * 500)
    said = refusal("registry", "list", code=1)
    assert "can't be read" in said
    assert "move it away" in said


def _run_in_production(workspace: Path, digest: str) -> None:
    with Ledger(workspace / "ledger.db") as ledger:
        seen = ledger.environment("production")
        wanted = replace(seen, version=1, digest=digest)
        ledger.swap(seen, wanted, Decision("promote", "production", 1, "ada", "test"))


def _answer_unsurely(workspace: Path) -> None:
    unsure = np.full(3, 1 / 3, np.float32)
    with Ledger(workspace / "ledger.db") as ledger:
        ledger.add_predictions(
            [Prediction(str(k), time.time(), "production", 1, 0, unsure) for k in range(200)]
        )
