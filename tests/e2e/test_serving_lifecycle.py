"""Starting, stopping, dying, and a ledger that can't be written."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cifarops.deployment.environment import find_server
from cifarops.deployment.process import ServerProcess
from cifarops.errors import UnavailableError
from cifarops.ledger.store import Ledger
from cifarops.serving.client import Client
from tests.support.bundles import colour_bundle, colour_image
from tests.support.serving import Connection, set_version, settings_of

pytestmark = pytest.mark.e2e


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    settings = settings_of(tmp_path)
    set_version(settings.ledger, 1, colour_bundle(settings.bundles))
    return tmp_path


def recorded(workspace: Path) -> set[str]:
    with Ledger(settings_of(workspace).ledger) as ledger:
        return set(ledger.window("production", last=1_000_000).ids)


def eventually(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def keep_asking(url: str, answered: list[str], broken: list[str]) -> None:
    """Ask until the server no longer takes requests; an answer that is cut off or an error is broken."""
    connection, image = Connection(url), colour_image("red")
    while True:
        try:
            connection.raw.request("POST", "/predict", image)
            answer = connection.raw.getresponse()
        except OSError:
            return
        content = answer.read()
        if answer.status != 200 or not content.endswith(b"}"):
            broken.append(f"{answer.status}: {content!r}")
        answered.append(content.decode().split('"')[3])


@pytest.fixture
def slow_request() -> Iterator[list[Connection]]:
    opened: list[Connection] = []
    yield opened
    for connection in opened:
        connection.close()


def test_sigterm_finishes_what_was_begun(workspace: Path, slow_request: list[Connection]) -> None:
    image = colour_image("red")
    answered: list[str] = []
    broken: list[str] = []
    with ServerProcess("production", workspace=workspace) as server:
        slow = Connection(server.url)
        slow_request.append(slow)
        slow.raw.putrequest("POST", "/predict")
        slow.raw.putheader("Content-Length", str(len(image)))
        slow.raw.endheaders()
        slow.raw.send(image[:50])
        clients = [
            threading.Thread(target=keep_asking, args=(server.url, answered, broken)) for _ in range(4)
        ]
        for client in clients:
            client.start()
        eventually(lambda: len(answered) > 50)
        os.kill(server.pid, signal.SIGTERM)
        for client in clients:
            client.join()
        slow.raw.send(image[50:])
        assert slow.raw.getresponse().status == 200
        assert server.stop() == 0
    assert broken == []
    assert set(answered) <= recorded(workspace)
    with Ledger(settings_of(workspace).ledger) as ledger:
        assert ledger.servers("production") == []


def test_after_kill_9_a_new_server_serves_the_promoted_version(workspace: Path) -> None:
    settings = settings_of(workspace)
    with ServerProcess("production", workspace=workspace) as first:
        set_version(settings.ledger, 2, colour_bundle(settings.bundles, rotation=1))
        eventually(lambda: Client(first.url).version().model_version == 2)
        os.kill(first.pid, signal.SIGKILL)
        with ServerProcess("production", workspace=workspace) as second:
            assert Client(second.url).predict(colour_image("red")).label == "green"
            assert find_server("production", ledger=settings.ledger) == second.url
    with pytest.raises(UnavailableError, match="No server of production"):
        find_server("production", ledger=settings.ledger)


def test_a_server_stops_when_its_parent_is_gone(workspace: Path) -> None:
    with ServerProcess("production", workspace=workspace) as server:
        server.close_stdin()
        assert server.wait() == 0


def test_before_the_first_promotion_a_server_is_live_and_not_ready(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    with ServerProcess("staging", workspace=tmp_path) as server:
        client = Client(server.url)
        assert client.live()
        assert not client.ready()
        with pytest.raises(UnavailableError, match="deploy promote VERSION --to staging"):
            client.predict(colour_image("red"))
        set_version(settings.ledger, 1, colour_bundle(settings.bundles), "staging")
        eventually(client.ready)
        assert client.predict(colour_image("red")).environment == "staging"


def test_a_taken_port_is_named(workspace: Path) -> None:
    with ServerProcess("production", workspace=workspace) as server:
        port = server.url.rsplit(":", 1)[1]
        done = subprocess.run(
            [sys.executable, "-m", "cifarops.cli.main", "serve", "--port", port],
            env={**os.environ, "CIFAROPS_WORKSPACE": str(workspace)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert f"Port {port} on 127.0.0.1 is taken." in done.stderr
        assert "--port 0" in done.stderr
        with (
            pytest.raises(UnavailableError, match="is taken"),
            ServerProcess("production", workspace=workspace, port=int(port)),
        ):
            pass
        assert Client(server.url).ready()


def test_a_locked_ledger_delays_no_prediction(workspace: Path) -> None:
    with ServerProcess("production", workspace=workspace) as server:
        connection, image = Connection(server.url), colour_image("red")
        lock = sqlite3.connect(settings_of(workspace).ledger, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        ids = {connection.predict(image)[1]["prediction_id"] for _ in range(100)}
        assert not ids & recorded(workspace)
        lock.execute("ROLLBACK")
        lock.close()
        eventually(lambda: ids <= recorded(workspace))
        assert connection.counter("cifarops_lost_predictions_total") == 0
        connection.close()


def test_a_full_disk_costs_predictions_and_no_answer(workspace: Path) -> None:
    with ServerProcess("production", workspace=workspace) as server:
        connection, image = Connection(server.url), colour_image("red")
        connection.predict(image)
        eventually(lambda: len(recorded(workspace)) == 1)
        unlimited = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (4096, unlimited[1]))
        statuses = {connection.predict(image)[0] for _ in range(100)}
        assert statuses == {200}
        eventually(lambda: connection.counter("cifarops_lost_predictions_total") == 100)
        status, problem = connection.ask(
            "POST",
            "/feedback",
            b'{"prediction_id": "x", "label": "red"}',
            {"Content-Type": "application/json"},
        )
        assert status in (404, 503), problem
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unlimited)
        _, answer = connection.predict(image)
        eventually(lambda: answer["prediction_id"] in recorded(workspace))
        connection.close()
