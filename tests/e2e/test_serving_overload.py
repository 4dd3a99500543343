"""More than can be answered, and the end: who is turned away is told so, who is let in is answered, nobody is forgotten."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from cifarops.deployment.process import ServerProcess
from tests.support.abuse import survived
from tests.support.bundles import colour_image
from tests.support.raw import connected, head, post, read_status
from tests.support.serving import Connection, colour_workspace, settings_of

pytestmark = pytest.mark.e2e

FLOOD = "127.0.0.66"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    colour_workspace(tmp_path)
    return tmp_path


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_flood_is_turned_away_and_the_others_are_answered(workspace: Path) -> None:
    request = post("/predict", colour_image("red", size=1200))
    statuses: Counter[int] = Counter()
    with ServerProcess("production", workspace=workspace) as server:
        with survived(server, growth_bytes=300 * 2**20), ExitStack() as stack:
            flood = [stack.enter_context(connected(server.url, source=FLOOD, timeout=60)) for _ in range(500)]
            senders = [threading.Thread(target=each.sendall, args=(request,)) for each in flood]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            statuses.update(read_status(each) for each in flood)
        assert set(statuses) <= {200, 429, 503}
        assert statuses[200] > 0
        assert statuses[429] + statuses[503] > 0
        asking = Connection(server.url)
        eventually(lambda: asking.predict(colour_image("red"))[0] == 200)
        eventually(lambda: asking.counter("cifarops_queue_length") == 0)
        asking.close()


def test_a_server_that_is_told_to_stop_is_not_ready_first_and_finishes_what_it_began(workspace: Path) -> None:
    settings_of(workspace).serving.write_text("drain_s: 2\n")
    image = colour_image("red")
    with (
        ServerProcess("production", workspace=workspace) as server,
        connected(server.url) as begun,
        connected(server.url) as probe,
    ):
        begun.sendall(head("POST", "/predict", f"Content-Length: {len(image)}") + image[:10])
        probe.sendall(head("GET", "/v2/health/ready"))
        assert read_status(probe) == 200
        os.kill(server.pid, signal.SIGTERM)

        def asked(path: str) -> int:
            with connected(server.url) as fresh:
                fresh.sendall(head("GET", path))
                return read_status(fresh)

        eventually(lambda: asked("/v2/health/ready") == 503)
        assert asked("/v2/health/live") == 200
        begun.sendall(image[10:])
        assert read_status(begun) == 200
        assert server.wait() == 0
