"""The DVC pipeline for real: it runs the stages, and then only those that something has changed for."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cifarops.ledger.records import Decision
from cifarops.ledger.store import Ledger

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
STAGES = ["ingest", "train", "package", "report", "incumbent", "gate"]
NOTHING = ["incumbent"]  # asks what production runs, every time


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the pipeline reads, with a profile that takes seconds."""
    path = tmp_path_factory.mktemp("project")
    for name in ("dvc.yaml", "params.yaml", "policy.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, path / name)
    shutil.copytree(ROOT / "src", path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    _change(path, "profile: demo", "profile: smoke")
    _change(path, "train: {epochs: 2, batch_size: 128", "train: {epochs: 1, batch_size: 128")
    _dvc(path, "init", "--no-scm", "--quiet")
    return path


def _change(project: Path, old: str, new: str) -> None:
    file = next(
        each for each in (project / "params.yaml", project / "policy.yaml") if old in each.read_text()
    )
    file.write_text(file.read_text().replace(old, new, 1))


def _dvc(project: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CIFAROPS_")}
    answer = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env={**environment, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-2000:]
    return answer.stdout


def _repro(project: Path) -> list[str]:
    """Run what has changed; return the stages that ran."""
    lines = _dvc(project, "repro").splitlines()
    return [line.split("'")[1] for line in lines if line.startswith("Running stage")]


def _changed(project: Path) -> set[str]:
    """Return the stages that would run because of what they read themselves."""
    return set(json.loads(_dvc(project, "status", "--json"))) - set(NOTHING)


def _pointer(project: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((project / "workspace/pipeline" / f"{name}.json").read_text())
    return document


def _production_runs(project: Path, digest: str | None, replaced: str | None) -> None:
    with Ledger(project / "workspace" / "ledger.db") as ledger:
        seen = ledger.environment("production")
        wanted = replace(seen, version=seen.generation, digest=digest, previous_digest=replaced)
        ledger.swap(seen, wanted, Decision("promote", "production", seen.generation, "ada", "because"))


@pytest.mark.promise("S1")
def test_it_runs_everything_once_and_then_what_changed(project: Path) -> None:
    assert _repro(project) == STAGES
    first = _pointer(project, "bundle")["bundle"]
    verdict = _pointer(project, "verdict")
    assert (verdict["candidate"], verdict["incumbent"]) == (first, None)
    assert _pointer(project, "metrics")
    assert _repro(project) == NOTHING

    _production_runs(project, first, replaced=None)
    assert _repro(project) == NOTHING  # its own promotion changes nothing

    _change(project, "margin: 0.01", "margin: 0.02")
    assert _repro(project) == ["incumbent", "gate"]

    _change(project, "train: {epochs: 1,", "train: {epochs: 4,")
    assert _repro(project) == ["train", "package", "report", "incumbent", "gate"]
    second = _pointer(project, "bundle")["bundle"]
    verdict = _pointer(project, "verdict")
    assert (verdict["candidate"], verdict["incumbent"]) == (second, first)

    _production_runs(project, second, replaced=first)
    assert _repro(project) == NOTHING
    _production_runs(project, None, replaced=None)
    assert _repro(project) == ["incumbent", "gate"]
    assert _pointer(project, "verdict")["incumbent"] is None


@pytest.mark.parametrize(
    ("room", "stages"),
    [
        ("data", {"ingest"}),
        ("training", {"train"}),
        ("packaging", {"package"}),
        ("bundle", {"package"}),
        ("evaluation", {"report", "gate"}),
        ("serving", set()),
        ("__pycache__", set()),
        ("training/__pycache__", set()),
    ],
)
def test_code_that_changed_runs_its_stage_again(project: Path, room: str, stages: set[str]) -> None:
    assert _changed(project) == set()
    added = project / "src" / "cifarops" / room / "added.py"
    added.parent.mkdir(exist_ok=True)
    added.write_text("")
    assert _changed(project) == stages
    added.unlink()


@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ("valid_fraction: 0.1", "valid_fraction: 0.2", {"ingest"}),
        ("train: 2000", "train: 1500", {"ingest"}),
        ("label_smoothing: 0.2", "label_smoothing: 0.1", {"train"}),
        ("batch_size: 128", "batch_size: 64", {"train"}),
        ("max_ece: 0.3", "max_ece: 0.2", {"gate"}),
        ("window: 500", "window: 400", set()),
        ("fast:", "quick:", set()),
    ],
)
def test_a_parameter_runs_the_stage_that_reads_it(
    project: Path, old: str, new: str, stages: set[str]
) -> None:
    _change(project, old, new)
    assert _changed(project) == stages
    _change(project, new, old)
