"""Promotion and rollback with live servers, by function and by command."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cifarops.deployment.environment import status
from cifarops.deployment.process import ServerProcess
from cifarops.deployment.rollout import promote, rollback
from cifarops.errors import UnavailableError, UsageError
from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry
from cifarops.serving.client import Client
from tests.support.bundles import COLOURS, colour_bundle, colour_image
from tests.support.registry import register
from tests.support.serving import settings_of

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with six registered versions; version n answers in rotation n."""
    path = tmp_path_factory.mktemp("rollout")
    settings = settings_of(path)
    registry = Registry.of(settings)
    for version in range(1, 7):
        bundle = colour_bundle(settings.bundles, rotation=version % 3, sharpness=1 + version)
        assert register(registry, bundle) == version
    return path


@pytest.fixture
def ledger(workspace: Path) -> Any:
    with Ledger(settings_of(workspace).ledger) as opened:
        yield opened


@pytest.fixture
def registry(workspace: Path) -> Registry:
    settings = settings_of(workspace)
    return Registry.of(settings)


def label_of(version: int) -> str:
    return COLOURS[version % 3]


@pytest.mark.promise("A5")
def test_both_environments_follow_their_own_promotions(
    workspace: Path, ledger: Ledger, registry: Registry
) -> None:
    with (
        ServerProcess("staging", workspace=workspace) as staging,
        ServerProcess("production", workspace=workspace) as production,
        ServerProcess("production", workspace=workspace) as second,
    ):
        os.kill(second.pid, signal.SIGKILL)
        for version in (1, 2):
            for environment in ("staging", "production"):
                done = promote(
                    environment, version, ledger=ledger, registry=registry, actor="ada", reason="test"
                )
                server = staging if environment == "staging" else production
                assert done.servers == (server.url,)
                answer = Client(server.url).predict(colour_image("red"))
                assert (answer.model_version, answer.label) == (version, label_of(version))
                assert answer.environment == environment
        assert ledger.servers("production") == [production.url]
        found = {entry.state.name: entry for entry in status(ledger, workspace / "releases")}
        assert [server.version for server in found["production"].servers] == [2]
        assert found["development"].servers == ()

        back = rollback("production", ledger=ledger, registry=registry, actor="ada", reason="test")
        assert back.servers == (production.url,)
        assert Client(production.url).predict(colour_image("red")).model_version == 1
        assert Client(staging.url).version().model_version == 2


@pytest.mark.promise("B13")
def test_a_server_that_cannot_follow_brings_the_old_version_back(
    workspace: Path, ledger: Ledger, registry: Registry, tmp_path: Path
) -> None:
    # This server looks for bundles elsewhere, as one on another machine with an incomplete copy does.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in (ledger.path.name, "keys", "signatures"):
        (elsewhere / name).symlink_to(workspace / name)
    with ServerProcess("staging", workspace=elsewhere) as server:
        before = ledger.environment("staging").version
        with pytest.raises(UnavailableError, match="Version 3 was not taken up") as caught:
            promote("staging", 3, ledger=ledger, registry=registry, actor="ada", reason="test")
        assert server.url in caught.value.message
        assert ledger.environment("staging").version == before
        newest = ledger.decisions(environment="staging")[-1]
        assert (newest.kind, newest.version) == ("not_taken_up", 3)
        assert newest.evidence["runs_again"] == before
        assert "No bundles" in newest.evidence["problem"]
        with pytest.raises(UsageError, match="Version 3 never ran on staging"):
            promote("production", 3, ledger=ledger, registry=registry, actor="ada", reason="test")


def test_a_server_that_hangs_is_not_forgotten(workspace: Path, ledger: Ledger, registry: Registry) -> None:
    with ServerProcess("staging", workspace=workspace) as server:
        before = ledger.environment("staging").version
        os.kill(server.pid, signal.SIGSTOP)
        try:
            with pytest.raises(UnavailableError, match="was not taken up"):
                promote(
                    "staging",
                    4,
                    ledger=ledger,
                    registry=registry,
                    actor="ada",
                    reason="test",
                    timeout_s=0.5,
                )
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert ledger.environment("staging").version == before
        assert server.url in ledger.servers("staging")


def test_the_commands_tell_people_and_programs(workspace: Path, ledger: Ledger, registry: Registry) -> None:
    for environment in ("staging", "production"):
        promote(environment, 6, ledger=ledger, registry=registry, actor="ada", reason="before")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cifarops.cli.main", *arguments],
            env={**os.environ, "CIFAROPS_WORKSPACE": str(workspace), "CIFAROPS_ACTOR": "ada"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    with ServerProcess("production", workspace=workspace) as server:
        refused = run("deploy", "promote", "5", "--to", "production")
        assert refused.returncode == 2
        assert "never ran on staging" in refused.stderr
        assert run("deploy", "promote", "5", "--to", "staging").returncode == 0
        done = run("deploy", "promote", "5", "--to", "production", "--reason", "a reason", "--json")
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["state"]["version"] == 5
        assert document["servers"] == [server.url]

        image = workspace / "red.png"
        image.write_bytes(colour_image("red"))
        (workspace / "words.png").write_text("words")
        asked = run("predict", str(image), str(workspace / "words.png"), "--json")
        assert asked.returncode == 1
        answers = json.loads(asked.stdout)
        assert answers[0]["answer"]["label"] == label_of(5)
        assert answers[1]["answer"] is None

        assert "version 5" in run("deploy", "status").stdout
        history = json.loads(run("deploy", "history", "--environment", "production", "--json").stdout)
        assert history[-1]["reason"] == "a reason"
        assert json.loads(run("deploy", "watch", "--json").stdout)["verdict"] == "undecided"
        back = json.loads(run("deploy", "rollback", "--json").stdout)
        assert back["state"]["version"] == Client(server.url).version().model_version == 6
    nobody = run("predict", str(image))
    assert nobody.returncode == 1
    assert "No server of production" in nobody.stderr
