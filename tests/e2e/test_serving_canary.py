"""A canary and a shadow beside the stable version, with live servers: by function, by command, by restart."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cifarops.cli.main import build
from cifarops.config import CanaryParams
from cifarops.deployment.beside import (
    begin_canary,
    begin_shadow,
    compare_shadow,
    end_canary,
    end_shadow,
    judge,
)
from cifarops.deployment.process import ServerProcess
from cifarops.deployment.rollout import promote
from cifarops.errors import UnavailableError, UsageError
from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry
from cifarops.serving.client import Answer, Client
from tests.support.bundles import COLOURS, colour_bundle, colour_image
from tests.support.registry import register
from tests.support.serving import Connection, settings_of

pytestmark = pytest.mark.e2e
STABLE, GOOD, POISONED, OTHER = 1, 2, 3, 4
_EASY = CanaryParams(
    alpha=0.05,
    max_error_rise=0.2,
    max_slowdown=20,
    max_disagreement=0.3,
    max_accuracy_drop=0.2,
    labels=True,
)


@dataclass
class Place:
    """A workspace with four versions on staging's record; the stable one runs in production."""

    workspace: Path
    ledger: Ledger
    registry: Registry

    def canary(self, version: int, percent: float = 50) -> Any:
        return begin_canary(
            "production",
            version,
            percent=percent,
            ledger=self.ledger,
            registry=self.registry,
            actor="ada",
            reason="try it",
        )

    def shadow(self, version: int) -> Any:
        return begin_shadow(
            "production", version, ledger=self.ledger, registry=self.registry, actor="ada", reason="look"
        )

    def judged(self) -> str:
        return judge(
            "production", ledger=self.ledger, registry=self.registry, params=_EASY, actor="ada"
        ).verdict


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("canary")
    settings = settings_of(path)
    registry = Registry.of(settings)
    for rotation, sharpness, poisoned in ((0, 4, False), (0, 5, False), (0, 6, True), (1, 4, False)):
        bundle = colour_bundle(settings.bundles, rotation=rotation, sharpness=sharpness, poisoned=poisoned)
        register(registry, bundle)
    with Ledger(settings.ledger) as ledger:
        for version in (POISONED, GOOD, OTHER, STABLE):
            promote("staging", version, ledger=ledger, registry=registry, actor="ada", reason="test")
        promote("production", STABLE, ledger=ledger, registry=registry, actor="ada", reason="test")
    return path


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Iterator[Place]:
    workspace = tmp_path / "workspace"
    shutil.copytree(template, workspace)
    settings = settings_of(workspace)
    with Ledger(settings.ledger) as ledger:
        yield Place(workspace, ledger, Registry.of(settings))


def asked(client: Client, n: int, *, feedback: bool = False, colour: str | None = None) -> list[Answer]:
    answers = []
    for k in range(n):
        shown = colour or COLOURS[k % 3]
        answer = client.predict(colour_image(shown, seed=k), key=f"client {k}")
        if feedback:
            client.feedback(answer.prediction_id, shown)
        answers.append(answer)
    return answers


def asked_until_judged(place: Place, client: Client, *, feedback: bool = False) -> str:
    """Ask on and on, as clients do, until there is a verdict; returns it."""
    for _ in range(20):
        asked(client, 60, feedback=feedback)
        if (verdict := place.judged()) != "hold":
            return verdict
    return "hold"


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def metrics(url: str) -> str:
    connection = Connection(url)
    try:
        return str(connection.ask("GET", "/metrics")[1])
    finally:
        connection.close()


def test_a_good_canary_is_sticky_survives_a_kill_and_is_promoted_by_itself(place: Place) -> None:
    with ServerProcess("production", workspace=place.workspace) as server:
        assert place.canary(GOOD).servers == (server.url,)
        client = Client(server.url)
        first = {k: each.model_version for k, each in enumerate(asked(client, 60))}
        assert set(first.values()) == {STABLE, GOOD}
        os.kill(server.pid, signal.SIGKILL)
    with ServerProcess("production", workspace=place.workspace) as server:
        client = Client(server.url)
        running = client.version()
        assert (running.canary_version, running.canary_percent, running.beside_error) == (GOOD, 50, None)
        assert {k: each.model_version for k, each in enumerate(asked(client, 60))} == first
        assert place.judged() == "hold"
        assert asked_until_judged(place, client, feedback=True) == "promote"
        state = place.ledger.environment("production")
        assert (state.version, state.previous_version, state.canary) == (GOOD, STABLE, None)
        assert {each.model_version for each in asked(client, 20)} == {GOOD}
        newest = place.ledger.decisions(environment="production")[-1]
        assert (newest.kind, newest.version, newest.evidence["verdict"]) == ("promote", GOOD, "promote")
        assert {each["finding"] for each in newest.evidence["aspects"]} == {"fine"}
        assert f'model_version="{GOOD}"' in metrics(server.url)


def test_a_canary_that_fails_costs_no_request_and_is_ended_by_itself(place: Place) -> None:
    with ServerProcess("production", workspace=place.workspace) as server:
        place.canary(POISONED)
        client = Client(server.url)
        answers = asked(client, 120)
        # What it fails on alone is answered by the stable version; it goes on with everything else.
        blue = [answer for k, answer in enumerate(answers) if k % 3 == COLOURS.index("blue")]
        assert {answer.model_version for answer in blue} == {STABLE}
        assert {answer.model_version for answer in answers} == {STABLE, POISONED}
        assert [answer.label for answer in answers] == [COLOURS[k % 3] for k in range(120)]
        assert f'cifarops_version_failures_total{{model_version="{POISONED}"}}' in metrics(server.url)
        assert asked_until_judged(place, client) == "roll back"
        state = place.ledger.environment("production")
        assert (state.version, state.canary) == (STABLE, None)
        newest = place.ledger.decisions(environment="production")[-1]
        assert (newest.kind, newest.version) == ("canary_stopped", POISONED)
        assert "errors" in newest.reason
        assert {each.model_version for each in asked(client, 30)} == {STABLE}


def test_a_canary_that_contradicts_everything_is_ended_without_labels(place: Place) -> None:
    with ServerProcess("production", workspace=place.workspace) as server:
        place.canary(OTHER)
        assert asked_until_judged(place, Client(server.url)) == "roll back"
        assert "disagreement" in place.ledger.decisions(environment="production")[-1].reason


def test_a_shadow_is_recorded_and_told_to_nobody(place: Place) -> None:
    with ServerProcess("production", workspace=place.workspace) as server:
        place.shadow(OTHER)
        client = Client(server.url)
        answers = asked(client, 60, feedback=True)
        assert {answer.model_version for answer in answers} == {STABLE}
        assert [answer.label for answer in answers] == [COLOURS[k % 3] for k in range(60)]
        eventually(lambda: compare_shadow("production", ledger=place.ledger, params=_EASY)[1].compared > 40)
        disagreement, accuracy = compare_shadow("production", ledger=place.ledger, params=_EASY)
        assert (disagreement.estimate.value, accuracy.estimate.value) == (1, -1)
        assert (disagreement.finding, accuracy.finding) == ("worse", "worse")
        assert len(place.ledger.window("production", last=1000)) == 60
        ended = end_shadow("production", ledger=place.ledger, actor="ada", reason="seen")
        assert ended.state.shadow is None
        assert client.version().shadow_version is None


def test_a_canary_that_a_server_cannot_load_leaves_all_as_it_was(place: Place, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "bundles").mkdir(parents=True)
    for shared in ("ledger.db", "signatures", "keys"):
        (elsewhere / shared).symlink_to(place.workspace / shared)
    stable = place.registry.bundle(STABLE)
    (elsewhere / "bundles" / stable.path.name).symlink_to(stable.path)
    with ServerProcess("production", workspace=elsewhere) as server:
        with pytest.raises(UnavailableError, match="was not taken up beside version 1"):
            place.canary(GOOD)
        state = place.ledger.environment("production")
        assert (state.version, state.canary) == (STABLE, None)
        running = Client(server.url).version()
        assert (running.model_version, running.canary_version, running.error) == (STABLE, None, None)


def test_an_image_that_the_model_fails_on_fails_alone(place: Place) -> None:
    promote("production", POISONED, ledger=place.ledger, registry=place.registry, actor="ada", reason="test")
    with ServerProcess("production", workspace=place.workspace) as server, ThreadPoolExecutor(6) as pool:
        client = Client(server.url)

        def ask(k: int) -> str:
            try:
                return client.predict(colour_image(COLOURS[k % 3], seed=k)).label
            except UnavailableError as error:
                return error.message

        said = list(pool.map(ask, range(90)))
        for k, each in enumerate(said):
            assert each == COLOURS[k % 3] if k % 3 != COLOURS.index("blue") else each not in COLOURS
        assert client.live()
        assert f'cifarops_version_failures_total{{model_version="{POISONED}"}} 30.0' in metrics(server.url)


def test_what_makes_no_sense_is_refused(place: Place) -> None:
    for percent in (0, 100, -1):
        with pytest.raises(UsageError, match="no share"):
            place.canary(GOOD, percent)
    with pytest.raises(UsageError, match="what production runs for everyone"):
        place.canary(STABLE)
    for end in (end_canary, end_shadow):
        with pytest.raises(UsageError, match="has no"):
            end("production", ledger=place.ledger, actor="ada", reason="")
    with pytest.raises(UsageError, match="has no canary"):
        place.judged()


def test_the_commands_tell_people_and_programs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIFAROPS_WORKSPACE", str(place.workspace))

    def run(*arguments: str) -> Any:
        done = CliRunner().invoke(build(), ["deploy", *arguments, "--json"], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    begun = run("canary", str(GOOD), "--percent", "25", "--reason", "a reason")
    assert begun["state"]["canary"]["percent"] == 25
    assert run("shadow", str(OTHER))["state"]["shadow"]["version"] == OTHER
    assert run("judge", "--dry-run")["verdict"] == "hold"
    assert [each["name"] for each in run("compare-shadow")] == ["disagreement", "accuracy"]
    found = next(each for each in run("status") if each["state"]["name"] == "production")
    assert found["state"]["canary"]["version"] == GOOD
    assert run("stop-canary")["state"]["canary"] is None
    assert run("stop-shadow")["state"]["shadow"] is None
    assert CliRunner().invoke(build(), ["deploy", "judge"]).exit_code == 2
    kinds = [each.kind for each in place.ledger.decisions(environment="production")]
    assert kinds == ["promote", "canary", "shadow", "canary_stopped", "shadow_stopped"]
