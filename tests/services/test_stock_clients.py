"""Clients that others wrote, unchanged, against a real server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness import ROOT
from benchmarks.tools import environment, installed
from cifarops.deployment.process import ServerProcess
from cifarops.ledger.store import Ledger
from cifarops.serving.client import Client
from tests.support.bundles import COLOURS, SIZE
from tests.support.serving import colour_workspace, settings_of

pytestmark = pytest.mark.services

_SECONDS = 60
_ALL = [list(COLOURS)]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clients")
    colour_workspace(path)
    return path


@pytest.fixture(scope="module")
def server(workspace: Path) -> Iterator[ServerProcess]:
    with ServerProcess("production", workspace=workspace) as process:
        yield process


def ask(client: str, url: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.support.stock_clients", client, url]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=_SECONDS
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_tritonclient(server: ServerProcess, workspace: Path) -> None:
    seen = ask("triton", server.url)
    assert (seen["live"], seen["ready"], seen["models"]) == (True, True, [True, True, False])
    assert seen["metadata"]["inputs"] == [
        {"name": "images", "datatype": "UINT8", "shape": [-1, SIZE, SIZE, 3]}
    ]
    assert seen["labels"] == _ALL * 6
    assert seen["sums"] == pytest.approx([1, 1, 1])
    # Whatever a client asks for is in what the server says it has.
    assert "binary_tensor_data" in seen["extensions"]
    assert not [each for each in seen["extensions"] if "shared_memory" in each or "repository" in each]
    statuses, messages = zip(*seen["errors"], strict=True)
    assert statuses == ("422", "403", "403", "403", "403")
    assert "[N, 8, 8, 3]" in messages[0]
    assert "shared" in messages[1]
    assert "cifarops deploy promote" in messages[3]
    assert Client(server.url).feedback(seen["prediction_ids"][0], "red") == "recorded"
    with Ledger(settings_of(workspace).ledger) as ledger:
        window = ledger.window("production", last=3)
    assert list(window.ids) == seen["prediction_ids"]
    assert window.predicted.tolist() == [0, 1, 2]


def test_the_kserve_sdk(server: ServerProcess) -> None:
    seen = ask("kserve", server.url)
    assert (seen["live"], seen["ready"], seen["models"]) == (True, True, [True, False])
    assert seen["labels"] == _ALL * 2
    assert seen["sums"] == pytest.approx([1, 1, 1])


def test_mlflows_scoring_client(server: ServerProcess) -> None:
    seen = ask("mlflow", server.url)
    assert seen["version"] == 7
    assert seen["labels"] == _ALL * 5
    assert Client(server.url).feedback(seen["prediction_ids"][1], "green") == "recorded"


def test_perf_analyzer(server: ServerProcess) -> None:
    folder = installed("perf_analyzer")
    program = folder / "bin" / "perf_analyzer"
    program.chmod(0o755)
    measure = ("--measurement-mode", "count_windows", "--measurement-request-count", "20", "-s", "1000")
    done = subprocess.run(
        [program, "-m", "cifarops", "-u", server.url.removeprefix("http://"), "-b", "2", *measure],
        env={**os.environ, "LD_LIBRARY_PATH": str(folder / "nvidia" / "cuda_runtime" / "lib")},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    assert "Throughput" in done.stdout
