"""The whole branch process, as a user rehearses it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from cifarops.flow.freeze import known_freeze
from cifarops.flow.git import Git
from cifarops.flow.local.forge import LocalForge
from cifarops.flow.rehearsal.edits import SIZES, SIZES_TEST
from cifarops.flow.rehearsal.keeper import marked
from cifarops.flow.rehearsal.story import STEPS
from cifarops.ledger.store import Ledger

pytestmark = pytest.mark.flow
ROOT = Path(__file__).parents[2]


def _start(workspace: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cifarops", "flow", "rehearse"],
        cwd=ROOT,
        env={**os.environ, "CIFAROPS_WORKSPACE": str(workspace), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_until(place: Path, count: int, process: subprocess.Popen[str], seconds: float = 600) -> None:
    """Wait until so many servers of the rehearsal run."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        if sum(map(_serves, marked(place))) >= count:
            return
        time.sleep(0.2)
    pytest.fail(f"no {count} servers came up: {process.communicate()[1][-2000:]}")


def _serves(process: psutil.Process) -> bool:
    try:
        return "serve" in process.cmdline()
    except psutil.Error:  # it ended while it was looked at
        return False


def _wait_until_nobody_is_left(place: Path, seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while marked(place) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert marked(place) == []


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a complete rehearsal has left."""
    workspace = tmp_path_factory.mktemp("rehearsal")
    process = _start(workspace)
    _, told = process.communicate(timeout=1800)
    assert process.returncode == 0, told[-4000:]
    return workspace / "flow-demo"


@pytest.fixture(scope="module")
def summary(place: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((place / "summary.json").read_text())
    return document


@pytest.fixture(scope="module")
def results(summary: dict[str, Any]) -> dict[str, Any]:
    return {step["name"]: step["result"] for step in summary["steps"]}


@pytest.fixture(scope="module")
def remote(place: Path) -> Git:
    return Git(place / "remote.git")


@pytest.mark.promise("A4")
def test_every_step_was_played(summary: dict[str, Any]) -> None:
    assert summary["complete"]
    assert [step["name"] for step in summary["steps"]] == ["remote", *(name for name, _, _ in STEPS)]
    assert all(step["seconds"] > 0 and step["says"] for step in summary["steps"])
    assert Git(ROOT).is_ancestor(summary["commit"], "HEAD")


@pytest.mark.promise("B4", "B12")
def test_protected_branches_changed_by_merges_only(remote: Git) -> None:
    for branch in ("develop", "release", "main"):
        line = remote("log", "--first-parent", "--format=%H %P", f"refs/heads/{branch}").splitlines()
        *merges, beginning = [commit.split()[1:] for commit in line]
        assert merges
        assert all(len(parents) == 2 for parents in merges)
        assert beginning == []


@pytest.mark.promise("B3")
def test_run_tests_ran_them_on_the_machine_and_in_the_pipeline(results: dict[str, Any]) -> None:
    assert results["run_tests"]["jobs"] == ["lint", "policy", "unit"]


@pytest.mark.promise("A1")
def test_what_develop_made_is_what_the_release_pins(results: dict[str, Any]) -> None:
    made, pinned, released = (results[step] for step in ("into_develop", "cut", "production"))
    for key in ("bundle", "code"):
        assert made[key] == pinned[key] == released[key]
    assert made["trainings"] == 2  # the first version's and the feature's


@pytest.mark.promise("B8", "B10")
def test_the_freeze_held_a_change_back_and_is_lifted(
    remote: Git, place: Path, results: dict[str, Any]
) -> None:
    assert known_freeze(remote, "develop", tags="refs/tags/") is None
    waited = results["freeze"]["waiting"]
    requests = {each.number: each for each in LocalForge(remote.root, "ada").merge_requests()}
    assert requests[waited].state == "merged"
    # It came into develop after develop had come into release.
    cut = remote("log", "-1", "--first-parent", "--format=%P", "refs/heads/release").split()[1]
    assert not remote.is_ancestor(f"refs/heads/{requests[waited].source}", cut)
    assert remote.is_ancestor(f"refs/heads/{requests[waited].source}", "refs/heads/develop")


@pytest.mark.promise("B13")
def test_production_was_rehearsed_and_replaced_and_no_request_failed(
    summary: dict[str, Any], results: dict[str, Any]
) -> None:
    assert results["finish"]["answered"] > 0
    assert results["finish"]["failed"] == 0
    assert set(results["production"]["versions"]) == {"1", "2"}
    assert summary["requests"]["sent"] == results["production"]["sent"] + results["patch"]["sent"] > 100
    assert summary["requests"]["failed"] == 0


@pytest.mark.promise("B14", "B15")
def test_the_hotfix_started_at_main_and_was_tested_as_a_release_is(
    remote: Git, results: dict[str, Any]
) -> None:
    assert remote.commit("refs/heads/hotfix/memory^") == remote.commit("refs/tags/v0.2.0")
    assert results["hotfix"]["jobs"] == ["integration", "lint", "model-report", "policy", "rehearsal", "unit"]


@pytest.mark.promise("B16")
def test_the_hotfix_is_everywhere_and_its_conflict_was_reported(remote: Git, results: dict[str, Any]) -> None:
    for branch in ("main", "develop"):
        assert remote.is_ancestor("refs/heads/hotfix/memory", f"refs/heads/{branch}")
        assert "MAX_IMAGE_BYTES = 6 * 2**20" in remote("show", f"refs/heads/{branch}:{SIZES}")
    assert sorted(results["conflict"]["files"]) == sorted([SIZES, SIZES_TEST])
    notes = json.loads((remote.root / "flow" / "state.json").read_text())["requests"]
    (noted,) = (each["notes"] for each in notes if each["number"] == results["conflict"]["merge_request"])
    assert all(file in " ".join(noted.values()) for file in (SIZES, SIZES_TEST))
    assert LocalForge(remote.root, "ada").merge_requests(state="open") == []


@pytest.mark.promise("B17")
def test_each_release_is_a_tag_on_main_that_says_what_it_pins(
    remote: Git, place: Path, results: dict[str, Any]
) -> None:
    assert results["end"]["tags"] == ["v0.1.0", "v0.2.0", "v0.2.1"]
    on_main = remote("log", "--first-parent", "--format=%H", "refs/heads/main").splitlines()
    assert [remote.commit(f"refs/tags/{tag}") for tag in results["end"]["tags"]] == on_main[::-1]
    newest = json.loads((remote.root / "flow/releases/v0.2.1/release.json").read_text())
    assert newest == results["end"]["release"]
    with Ledger(place / "machine/workspace/ledger.db") as ledger:
        for environment in ("staging", "production"):
            runs = ledger.environment(environment)
            assert (runs.digest, runs.code) == (newest["bundle"], newest["code"])


def test_nobody_is_left(place: Path) -> None:
    assert marked(place) == []
    with Ledger(place / "machine/workspace/ledger.db") as ledger:
        assert ledger.servers("staging") == ledger.servers("production") == []


def test_the_transcript_is_one_page_that_loads_nothing(place: Path) -> None:
    page = (place / "transcript.html").read_text()
    assert "synthetic" in page
    assert page.count("<svg") == 5
    assert len(re.findall("<h2", page)) == len(STEPS) + 2
    for branch in ("feature/sharper-eyes", "hotfix/memory-into-develop", "v0.2.1"):
        assert f">{branch}</text>" in page
    assert "Failed." not in page
    for loader in ("<script", "<link", "src=", "@import", "url("):
        assert loader not in page


def test_killed_or_interrupted_it_leaves_nobody_and_the_next_one_begins_afresh(tmp_path: Path) -> None:
    place = tmp_path / "flow-demo"
    first = _start(tmp_path)
    _wait_until(place, 1, first)
    second = _start(tmp_path)
    _, told = second.communicate(timeout=120)
    assert second.returncode == 1
    assert f"Another rehearsal runs in {place}" in told
    assert first.poll() is None
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    _wait_until_nobody_is_left(place)
    third = _start(tmp_path)
    _wait_until(place, 1, third)
    assert not (place / "transcript.html").exists()
    third.send_signal(signal.SIGINT)
    _, told = third.communicate(timeout=120)
    assert third.returncode == 1
    assert "Interrupted." in told
    assert "Traceback" not in told
    assert marked(place) == []


def test_what_is_missing_is_named_before_anything_is_begun(tmp_path: Path) -> None:
    only_git = tmp_path / "bin"
    only_git.mkdir()
    git = next(Path(each) / "git" for each in os.environ["PATH"].split(":") if (Path(each) / "git").exists())
    (only_git / "git").symlink_to(git)
    process = _start(tmp_path / "workspace", PATH=str(only_git))
    _, told = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "rsync" in told
    assert "apt-get install rsync" in told
    assert not (tmp_path / "workspace").exists()
