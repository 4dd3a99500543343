"""Code and model of an environment replaced while clients never stop asking, and everything that can go wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cifarops.deployment.code import CodeRelease, build_code
from cifarops.deployment.deploy import deploy_release, rollback_code, start, stop
from cifarops.deployment.environment import ask, status
from cifarops.deployment.process import ServerProcess
from cifarops.errors import ConflictError, UnavailableError, UsageError
from cifarops.ledger.records import EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry
from cifarops.serving.client import Client, Running
from cifarops.settings import Settings
from tests.support.bundles import colour_bundle, colour_image
from tests.support.registry import register
from tests.support.releases import checkout, release_of, variant
from tests.support.serving import set_version, settings_of
from tests.support.traffic import Traffic

pytestmark = pytest.mark.e2e

# What is wrong with a code release, and what is said about it.
_NEVER_READY = {
    "crashes": (
        "serving/app.py",
        '"""The HTTP',
        'raise RuntimeError("broken import")\n"""The HTTP',
        "broken import",
    ),
    "refuses": (
        "serving/service.py",
        "engine, outcomes = self._first_answer(assignment, ask)",
        "raise KeyError(size)",
        "KeyError",
    ),
    "lies": (
        "serving/protocol.py",
        '"model_version": prediction.version',
        '"model_version": 99',
        "version 99",
    ),
}
_DIES = (
    "serving/handover.py",
    "        predecessor.say(Word.READY)\n",
    """        predecessor.say(Word.READY)
        import os, threading
        threading.Timer(1.5, os._exit, (7,)).start()
""",
)
_FAILS_LATER = (
    "serving/service.py",
    "        engine, outcomes = self._first_answer(assignment, ask)\n",
    """        engine, outcomes = self._first_answer(assignment, ask)
        self.__dict__["n"] = self.__dict__.get("n", 0) + 1
        if self.__dict__["n"] > 40: raise KeyError("late")
""",
)


@dataclass(frozen=True)
class Codes:
    """Code releases: three good ones, and the others by what is wrong with them."""

    good: tuple[CodeRelease, CodeRelease, CodeRelease]
    bad: dict[str, CodeRelease]


class Place:
    """A workspace with two registered models and all code releases."""

    def __init__(self, workspace: Path, codes: Codes) -> None:
        self.settings: Settings = settings_of(workspace)
        self.registry = Registry.of(self.settings)
        self.ledger = Ledger(self.settings.ledger)
        self.codes = codes
        self.models = [version.digest for version in self.registry.versions()]

    def release(
        self,
        code: CodeRelease,
        *,
        model: int = 0,
        watch_s: float = 0.5,
        environment: EnvironmentName = "staging",
    ) -> Any:
        return deploy_release(
            release_of(code, self.models[model]),
            environment,
            ledger=self.ledger,
            registry=self.registry,
            settings=self.settings,
            reason="test",
            watch_s=watch_s,
            port=None,
        )

    def running(self) -> Running:
        (url,) = self.ledger.servers("staging")
        return Client(url).version()

    def command(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "cifarops.cli.main", "deploy", *arguments],
            env={**os.environ, "CIFAROPS_WORKSPACE": str(self.settings.workspace), "CIFAROPS_ACTOR": "ada"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Codes]:
    root = tmp_path_factory.mktemp("template")
    checkout(root / "checkout")
    workspace = root / "workspace"
    settings = settings_of(workspace)
    base = build_code(root / "checkout", releases=settings.releases)
    title = '"""Running a server'
    other, third = (variant(base, "serving/server.py", title, f'"""Number {n}. Running') for n in (2, 3))
    bad = {name: variant(base, file, old, new) for name, (file, old, new, _) in _NEVER_READY.items()}
    bad["dies"], bad["fails later"] = variant(base, *_DIES), variant(base, *_FAILS_LATER)
    registry = Registry.of(settings)
    for rotation in range(2):
        register(registry, colour_bundle(settings.bundles, rotation=rotation))
    return workspace, Codes((base, other, third), bad)


@pytest.fixture
def place(template: tuple[Path, Codes], tmp_path: Path) -> Iterator[Place]:
    workspace = tmp_path / "workspace"
    shutil.copytree(template[0], workspace, symlinks=True)
    made = Place(workspace, template[1])
    yield made
    for environment in ("staging", "production"):
        stop(environment, ledger=made.ledger, settings=made.settings, reason="end of the test")
    made.ledger.close()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.promise("B11", "B13", "A1", "A5")
def test_code_and_model_are_replaced_again_and_again_and_no_request_fails(place: Place) -> None:
    first, second, third = place.codes.good
    place.release(first)
    begun = place.running()
    url = place.ledger.servers("staging")[0]
    with Traffic(url) as traffic:
        for code, model in ((second, 0), (third, 1), (third, 0), (first, 1)):
            done = place.release(code, model=model, watch_s=0.3)
            assert done.servers == (url,)
            assert done.health is not None
            assert done.health.problem is None
            running = place.running()
            assert (running.code_release, running.digest) == (code.sha256, place.models[model])
            traffic.wait_for(50)
        back = rollback_code(
            "staging", ledger=place.ledger, settings=place.settings, reason="test", watch_s=0
        )
        assert (back.state.code, back.state.previous_code) == (third.sha256, None)
        assert place.running().code_release == third.sha256
        traffic.wait_for(50)
    assert traffic.failures == []
    assert place.running().pid != begun.pid
    with pytest.raises(UsageError, match="no previous code"):
        rollback_code("staging", ledger=place.ledger, settings=place.settings, reason="again")
    kinds = [decision.kind for decision in place.ledger.decisions(environment="staging")]
    assert kinds == ["release", "kept"] * 5 + ["rollback_code", "kept"]
    entry = place.ledger.decisions(environment="staging")[0]
    assert (entry.actor, entry.reason, entry.evidence["release"]["code"]) == ("tester", "test", first.sha256)


@pytest.mark.promise("B13")
@pytest.mark.parametrize("fault", _NEVER_READY)
def test_code_that_is_never_ready_changes_nothing(place: Place, fault: str) -> None:
    good = place.codes.good[0]
    place.release(good)
    before, seen = place.running(), place.ledger.environment("staging")
    with Traffic(place.ledger.servers("staging")[0]) as traffic:
        with pytest.raises(UnavailableError) as caught:
            place.release(place.codes.bad[fault], model=1)
        traffic.wait_for(50)
    assert traffic.failures == []
    assert _NEVER_READY[fault][3] in caught.value.message
    assert f"runs version 1 with code {good.sha256[:12]} again" in caught.value.message
    assert place.running().pid == before.pid
    state = place.ledger.environment("staging")
    assert (state.code, state.digest, state.previous_code) == (seen.code, seen.digest, seen.previous_code)
    newest = place.ledger.decisions(environment="staging")[-1]
    assert newest.kind == "not_taken_up"
    assert newest.evidence["code"] == place.codes.bad[fault].sha256


@pytest.mark.promise("B13")
def test_code_that_dies_under_watch_gives_way_to_the_server_that_stood_by(place: Place) -> None:
    place.release(place.codes.good[0])
    before = place.running()
    with pytest.raises(UnavailableError, match="ended with code 7"):
        place.release(place.codes.bad["dies"], watch_s=10)
    assert place.running().pid == before.pid
    assert place.ledger.environment("staging").code == before.code_release
    with Traffic(place.ledger.servers("staging")[0]) as traffic:
        traffic.wait_for(20)
    assert traffic.failures == []


@pytest.mark.promise("B13")
def test_code_that_answers_with_errors_under_watch_is_rolled_back(place: Place) -> None:
    place.release(place.codes.good[0])
    before = place.running()
    with Traffic(place.ledger.servers("staging")[0]) as traffic:
        with pytest.raises(UnavailableError, match="with a server error"):
            place.release(place.codes.bad["fails later"], model=1, watch_s=20)
        # Its errors reached clients; not one connection was lost on the way there and back.
        assert [failure for failure in traffic.failures if "/problems/internal" not in failure] == []
        errors = len(traffic.failures)
        time.sleep(0.5)
        assert len(traffic.failures) == errors
    running = place.running()
    assert (running.pid, running.digest) == (before.pid, place.models[0])


def test_when_the_one_that_stood_by_is_killed_too_the_old_code_is_started_again(place: Place) -> None:
    place.release(place.codes.good[0])
    before = place.running()
    url = place.ledger.servers("staging")[0]
    deploying = place.command(
        "release", str(_file(place, place.codes.bad["dies"])), *_STAGING, "--watch", "20"
    )
    eventually(lambda: ask(url, "staging").code == place.codes.bad["dies"].sha256)
    os.kill(before.pid, signal.SIGKILL)
    _, said = deploying.communicate(timeout=60)
    assert deploying.returncode == 1
    assert "was not taken up" in said
    running = place.running()
    assert running.code_release == before.code_release
    assert running.pid != before.pid
    assert place.ledger.servers("staging") == [url]


def test_whoever_is_killed_the_others_answer_and_start_recovers(place: Place) -> None:
    first, second, _ = place.codes.good
    place.release(first)
    old = place.running()
    url = place.ledger.servers("staging")[0]
    # The deployment dies as soon as the new server answers; that one keeps the old one standing by.
    deploying = place.command("release", str(_file(place, second)), *_STAGING, "--watch", "20")
    eventually(lambda: ask(url, "staging").code == second.sha256)
    os.killpg(deploying.pid, signal.SIGKILL)
    deploying.communicate()
    new = place.running()
    assert not gone(old.pid)
    os.kill(new.pid, signal.SIGKILL)
    eventually(lambda: ask(url, "staging").pid == old.pid)
    found = next(entry for entry in status(place.ledger, place.settings.releases) if entry.servers)
    assert found.state.code == second.sha256
    assert f"runs code {first.sha256[:12]}" in str(found.servers[0].problem)

    again = start("staging", ledger=place.ledger, settings=place.settings, reason="recover")
    assert (again.servers, place.running().code_release) == ((url,), second.sha256)
    eventually(lambda: gone(old.pid))
    # With nobody left, the port is known from the record.
    os.kill(place.running().pid, signal.SIGKILL)
    assert start("staging", ledger=place.ledger, settings=place.settings, reason="recover").servers == (url,)
    kinds = [decision.kind for decision in place.ledger.decisions(environment="staging")]
    assert kinds == ["release", "kept", "release", "start", "start"]
    # What was interrupted is brought to its end by the same command.
    assert place.release(second).health is not None
    assert place.release(second).health is None


def test_a_deployment_killed_at_any_moment_leaves_a_server_and_can_be_repeated(place: Place) -> None:
    first, second, _ = place.codes.good
    place.release(first)
    with Traffic(place.ledger.servers("staging")[0]) as traffic:
        for number, code in enumerate((second, first, second)):
            deploying = place.command("release", str(_file(place, code)), *_STAGING, "--watch", "0")
            time.sleep(0.6 + 0.5 * number)
            os.killpg(deploying.pid, signal.SIGKILL)
            deploying.communicate()
            traffic.wait_for(20)
            eventually(lambda code=code: _repeated(place, code))  # type: ignore[misc]
            assert place.running().code_release == code.sha256
            assert place.ledger.environment("staging").code == code.sha256
    assert traffic.failures == []


def test_a_plain_server_hands_over_too_and_its_successor_keeps_what_it_kept(place: Place) -> None:
    bundle = place.registry.bundle(1)
    set_version(place.settings.ledger, 1, bundle, "staging")
    with ServerProcess("staging", workspace=place.settings.workspace, keep_images=True) as plain:
        with Traffic(plain.url) as traffic:
            done = place.release(place.codes.good[0], watch_s=0)
            assert done.servers == (plain.url,)
            traffic.wait_for(20)
        assert traffic.failures == []
        assert plain.wait() == 0
        running = place.running()
        assert (running.code_release, running.keep_images) == (place.codes.good[0].sha256, True)


def test_stop_and_start_keep_the_address_and_stop_ends_whoever_stands_by(place: Place) -> None:
    first, second, _ = place.codes.good
    place.release(first)
    old = place.running().pid
    place.release(second, watch_s=0.1)
    new, (url,) = place.running().pid, place.ledger.servers("staging")
    assert not gone(old)
    assert stop("staging", ledger=place.ledger, settings=place.settings, reason="test") == (url,)
    eventually(lambda: gone(new) and gone(old))
    assert stop("staging", ledger=place.ledger, settings=place.settings, reason="test") == ()
    begun = start("staging", ledger=place.ledger, settings=place.settings, reason="test")
    assert begun.servers == (url,)
    assert Client(url).predict(colour_image("red")).environment == "staging"


def test_of_two_deployments_at_once_one_is_told(place: Place) -> None:
    first, second, third = place.codes.good
    place.release(first)
    both = [
        place.command("release", str(_file(place, code)), *_STAGING, "--watch", "3")
        for code in (second, third)
    ]
    said = [each.communicate(timeout=60)[1] for each in both]
    assert sorted(each.returncode for each in both) == [0, 1], said
    loser = both.index(next(each for each in both if each.returncode))
    assert "Another deployment is changing the servers of staging now." in said[loser]
    assert place.running().code_release == (second, third)[1 - loser].sha256


@pytest.mark.promise("A1")
def test_production_takes_only_the_pair_that_staging_kept(place: Place) -> None:
    code, other, _ = place.codes.good
    place.release(code)
    for mixed, model in ((code, 1), (other, 0)):
        with pytest.raises(UsageError, match=r"was not kept on staging"):
            place.release(mixed, model=model, environment="production")
    done = place.release(code, environment="production")
    assert (done.state.code, done.state.digest) == (code.sha256, place.models[0])
    assert place.registry.version(1).aliases == ("production", "staging")


def test_a_deep_workspace_hands_over_as_well(template: tuple[Path, Codes], tmp_path: Path) -> None:
    workspace = tmp_path / ("a" * 60) / ("b" * 60)
    shutil.copytree(template[0], workspace, symlinks=True)
    place = Place(workspace, template[1])
    place.release(place.codes.good[0])
    before = place.running().pid
    place.release(place.codes.good[1], watch_s=0)
    assert place.running().pid != before
    for socket in place.settings.run.glob("*.sock"):
        assert socket.stat().st_mode & 0o077 == 0
    assert place.settings.run.stat().st_mode & 0o077 == 0
    stop("staging", ledger=place.ledger, settings=place.settings, reason="test")
    with pytest.raises(ConflictError), _held(place):
        stop("staging", ledger=place.ledger, settings=place.settings, reason="test")
    place.ledger.close()


_STAGING = ("--environment", "staging")


def _held(place: Place) -> Any:
    from cifarops.deployment.lock import locked

    return locked(place.settings.run, "staging")


def _file(place: Place, code: CodeRelease) -> Path:
    path = place.settings.workspace / f"release-{code.sha256[:8]}.json"
    path.write_text(json.dumps(release_of(code, place.models[0]).model_dump()))
    return path


def _repeated(place: Place, code: CodeRelease) -> bool:
    """Whether the release succeeds now; a server that the killed deployment had started may still be taking over."""
    try:
        place.release(code, watch_s=0)
    except (ConflictError, UnavailableError):
        return False
    return True
