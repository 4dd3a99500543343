"""The whole story, for real: `cifarops demo` as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cifarops.demo.story import STEPS
from cifarops.ledger.store import Ledger
from cifarops.serving.client import Client
from cifarops.simulation.traffic import encode_png

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).parents[2]


def _start(workspace: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cifarops.cli.main", *arguments],
        cwd=ROOT,
        env={**os.environ, "CIFAROPS_WORKSPACE": str(workspace)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _processes_of(workspace: Path) -> set[int]:
    """Return the ids of all processes that work in the workspace."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"CIFAROPS_WORKSPACE={workspace}\0".encode() in (process / "environ").read_bytes() + b"\0":
                found.add(int(process.name))
        except OSError:
            continue
    return found


def _wait_until_nobody_works_in(workspace: Path, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while _processes_of(workspace) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _processes_of(workspace) == set()


def _wait_for_step(workspace: Path, name: str, process: subprocess.Popen[str], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        summary = workspace / "summary.json"
        if summary.exists() and name in {step["name"] for step in json.loads(summary.read_text())["steps"]}:
            return
        time.sleep(0.05)
    pytest.fail(f"step {name} was not reached: {process.communicate()[1][-2000:]}")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace that a complete demo has left."""
    workspace = tmp_path_factory.mktemp("demo")
    process = _start(workspace, "demo")
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors[-3000:]
    return workspace


@pytest.fixture(scope="module")
def summary(played: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((played / "summary.json").read_text())
    return document


@pytest.fixture(scope="module")
def results(summary: dict[str, Any]) -> dict[str, Any]:
    return {step["name"]: step["result"] for step in summary["steps"]}


@pytest.mark.promise("S1")
def test_every_step_was_done_and_timed(summary: dict[str, Any]) -> None:
    assert summary["complete"]
    assert [step["name"] for step in summary["steps"]] == [*(name for name, _, _ in STEPS), "report"]
    assert all(step["seconds"] > 0 and step["says"] for step in summary["steps"])


def test_no_request_failed_whatever_was_swapped(summary: dict[str, Any], results: dict[str, Any]) -> None:
    assert summary["requests"]["sent"] >= 2000
    assert summary["requests"]["failed"] == 0
    assert results["promote"]["requests_during_swap"] > 0


def test_the_first_model_is_good_but_not_perfect(results: dict[str, Any]) -> None:
    assert 0.9 <= results["gate"]["suites"]["test"]["accuracy"] <= 0.97


@pytest.mark.promise("S1")
def test_drift_is_noticed_and_repaired(results: dict[str, Any]) -> None:
    assert not results["requests"]["drift"]
    assert results["drift"]["delay_requests"] <= 500
    before, after = results["damage"]["accuracy"], results["promote"]["accuracy"]
    assert before["high"] < after["low"]


def test_the_gate_refuses_the_bad_model(results: dict[str, Any]) -> None:
    assert results["bad_model"]["answer"] == "reject"


@pytest.mark.promise("B13")
def test_what_fools_the_gate_is_rolled_back(results: dict[str, Any]) -> None:
    assert results["rollback"]["gate"]["answer"] == "promote"
    assert results["rollback"]["restored_version"] == results["promote"]["version"]


def test_the_report_is_one_page_that_loads_nothing(played: Path) -> None:
    page = (played / "report.html").read_text()
    assert "synthetic" in page
    assert page.count("<svg") >= 4
    assert page.count("data:image/png;base64,") >= 20
    for loader in ("<script", "<link", 'src="http', "@import", "url(http"):
        assert loader not in page


def test_no_process_is_left(played: Path) -> None:
    assert _processes_of(played) == set()


@pytest.mark.promise("S2")
def test_the_workspace_still_serves_what_the_demo_promoted(played: Path, results: dict[str, Any]) -> None:
    process = _start(played, "serve", "--environment", "production", "--port", "0")
    try:
        with Ledger(played / "ledger.db") as ledger:
            deadline = time.monotonic() + 30
            while not (urls := ledger.servers("production")) and time.monotonic() < deadline:
                time.sleep(0.05)
        client = Client(urls[0])
        while not client.ready() and time.monotonic() < deadline:
            time.sleep(0.05)
        import numpy as np

        again = _start(played, "demo")
        assert "still answers at" in again.communicate(timeout=60)[1]
        assert again.returncode == 1
        answer = client.predict(encode_png(np.full((32, 32, 3), 128, np.uint8)))
        assert answer.model_version == results["rollback"]["restored_version"]
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0


def test_a_demo_killed_at_any_step_leaves_no_process_and_the_next_one_starts_afresh(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for step in ("ingest", "staging", "production"):
        (workspace / "summary.json").unlink(missing_ok=True)
        process = _start(workspace, "demo", "--profile", "smoke")
        _wait_for_step(workspace, step, process)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        _wait_until_nobody_works_in(workspace)
    (workspace / "summary.json").unlink()
    process = _start(workspace, "demo", "--profile", "smoke")
    _wait_for_step(workspace, "staging", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Interrupted." in errors
    assert "Traceback" not in errors
    _wait_until_nobody_works_in(workspace)


def test_two_demos_do_not_share_a_workspace(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    first = _start(workspace, "demo", "--profile", "smoke")
    _wait_for_step(workspace, "ingest", first)
    second = _start(workspace, "demo", "--profile", "smoke")
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "Another demo runs" in errors
    assert first.poll() is None
    first.kill()
    first.communicate()
    _wait_until_nobody_works_in(workspace)


def test_it_never_empties_what_no_demo_made(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    process = _start(tmp_path, "demo", "--profile", "smoke")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "holds something that no demo made" in errors
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
