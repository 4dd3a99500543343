"""The DVC pipeline for real: it runs the stages, and then only those that changed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


def _dvc(project: Path, *arguments: str) -> str:
    bin_directory = Path(sys.executable).parent
    answer = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env={**os.environ, "PATH": f"{bin_directory}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr[-2000:]
    return answer.stdout + answer.stderr


def _ran(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_repro_runs_everything_once_and_then_what_changed(tmp_path: Path) -> None:
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    params = tmp_path / "params.yaml"
    params.write_text(params.read_text().replace("profile: demo", "profile: smoke", 1))
    _dvc(tmp_path, "init", "--no-scm", "--quiet")

    assert _ran(_dvc(tmp_path, "repro")) == ["ingest", "train", "package", "report", "gate"]
    pipeline = tmp_path / "workspace" / "pipeline"
    verdict = json.loads((pipeline / "verdict.json").read_text())
    assert verdict["candidate"] == json.loads((pipeline / "bundle.json").read_text())["bundle"]
    assert json.loads((pipeline / "metrics.json").read_text())

    assert _ran(_dvc(tmp_path, "repro")) == []

    params.write_text(params.read_text().replace("margin: 0.01", "margin: 0.02", 1))
    assert _ran(_dvc(tmp_path, "repro")) == ["gate"]
