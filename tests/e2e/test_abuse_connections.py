"""Large, slow, many and impolite: what clients do to connections and bodies costs the others nothing."""

import gzip
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cifarops.deployment.process import ServerProcess
from cifarops.serving.sizes import MAX_IMAGE_BYTES
from tests.support.abuse import survived
from tests.support.bundles import colour_image
from tests.support.raw import connected, cut_off, dribble, head, post, read_status, read_until_closed
from tests.support.serving import Connection, colour_workspace

pytestmark = pytest.mark.e2e

ATTACKER = "127.0.0.66"
_OPTIONS = """\
limits: {head_s: 1, body_s: 1.5, connections: 60, connections_per_address: 40, head_bytes: 8192, headers: 50}
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("connections")
    settings = colour_workspace(path)
    settings.serving.write_text(_OPTIONS)
    return path


@pytest.fixture(scope="module")
def server(workspace: Path) -> Iterator[ServerProcess]:
    with ServerProcess("production", workspace=workspace) as process:
        yield process


def refusals(server: ServerProcess, reason: str) -> float:
    connection = Connection(server.url)
    _, text = connection.ask("GET", "/metrics")
    connection.close()
    start = f'cifarops_refused_total{{reason="{reason}"}} '
    return sum(float(line.removeprefix(start)) for line in text.splitlines() if line.startswith(start))


def test_large_bodies_are_refused_declared_or_not(server: ServerProcess) -> None:
    with survived(server):
        with connected(server.url) as connection:
            connection.sendall(head("POST", "/predict", f"Content-Length: {2**40}"))
            assert read_status(connection) == 413
        for _ in range(5):
            with connected(server.url) as connection:
                connection.sendall(head("POST", "/predict", "Transfer-Encoding: chunked"))
                chunk = b"10000\r\n" + b"\0" * 65536 + b"\r\n"
                for _ in range(MAX_IMAGE_BYTES // 65536 + 1):
                    connection.sendall(chunk)
                assert read_status(connection) == 413
    assert refusals(server, "body") >= 6


def test_a_body_that_goes_on_after_its_refusal_is_cut_off(server: ServerProcess) -> None:
    with survived(server), connected(server.url) as connection:
        connection.sendall(head("POST", "/predict", f"Content-Length: {2**40}"))
        assert cut_off(connection, 100 * 2**20)


def test_tens_of_thousands_of_tiny_chunks_are_read(server: ServerProcess) -> None:
    image = colour_image("red") + b"\0" * 50_000
    with survived(server), connected(server.url) as connection:
        body = b"".join(b"1\r\n%c\r\n" % byte for byte in image) + b"0\r\n\r\n"
        connection.sendall(head("POST", "/predict", "Transfer-Encoding: chunked") + body)
        assert read_status(connection) == 200


def test_slow_heads_and_bodies_end(server: ServerProcess) -> None:
    def attack(content: bytes) -> None:
        with connected(server.url, source=ATTACKER) as connection:
            ended.append(dribble(connection, content, every_s=0.1, seconds=10))

    ended: list[bool] = []
    slow_head = head("POST", "/predict", "X-Slow: " + "a" * 1000)
    slow_body = head("POST", "/predict", "Content-Length: 100000")
    blank = b"\r\n" * 1000
    with survived(server):
        threads = [threading.Thread(target=attack, args=(slow_head,)) for _ in range(15)]
        threads.append(threading.Thread(target=attack, args=(blank,)))
        for thread in threads:
            thread.start()
        with connected(server.url, source=ATTACKER) as connection:
            connection.sendall(slow_body + b"\0" * 10)
            assert read_status(connection) == 408
        for thread in threads:
            thread.join()
    assert ended == [True] * 16
    assert refusals(server, "slow") >= 16


def test_a_large_or_endless_head_is_refused(server: ServerProcess) -> None:
    with survived(server):
        for headers in (["X: " + "a" * 9000], [f"X-{k}: a" for k in range(51)]):
            with connected(server.url) as connection:
                connection.sendall(head("GET", "/version", *headers))
                assert read_status(connection) == 431
        with connected(server.url) as connection:
            connection.sendall(b"GET /version HTTP/1.1\r\nX: ")
            time.sleep(0.1)
            connection.sendall(b"a" * 8193)
            assert read_status(connection) == 431
        with connected(server.url) as connection:
            connection.sendall(b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert read_status(connection) == 431


def test_what_is_no_http_is_told_so(server: ServerProcess) -> None:
    with survived(server):
        for noise in (b"\x16\x03\x01\x02\x00\x01\x00", b"HELO there\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
            with connected(server.url) as connection:
                connection.sendall(noise)
                assert read_until_closed(connection).startswith(b"HTTP/1.1 400 ")


def test_compressed_bodies_are_refused_unopened(server: ServerProcess) -> None:
    bomb = gzip.compress(b"\0" * 2**30, compresslevel=1)
    assert len(bomb) < MAX_IMAGE_BYTES
    with survived(server):
        for encoding in ("gzip", "deflate"):
            body = bomb if encoding == "gzip" else zlib.compress(b"\0" * 2**20)
            with connected(server.url) as connection:
                connection.sendall(post("/predict", body, f"Content-Encoding: {encoding}"))
                assert read_status(connection) == 415


def test_one_address_can_not_take_all_connections(server: ServerProcess) -> None:
    with survived(server), ExitStack() as open_ones:
        flood = [open_ones.enter_context(connected(server.url, source=ATTACKER)) for _ in range(100)]
        told = sum(read_until_closed(each).startswith(b"HTTP/1.1 503 ") for each in flood[40:])
        assert told == 60
        with connected(server.url) as other:
            other.sendall(post("/predict", colour_image("red")))
            assert read_status(other) == 200
    assert refusals(server, "connections") >= 60


def test_requests_sent_far_ahead_of_their_answers_are_bounded(server: ServerProcess) -> None:
    with survived(server), connected(server.url) as connection:
        connection.sendall(head("GET", "/version") * 5000)
        assert read_until_closed(connection).count(b"HTTP/1.1 200 ") < 100


def test_clients_that_leave_in_the_middle_cost_nothing(server: ServerProcess) -> None:
    image = colour_image("red", size=1500)
    with survived(server):
        for k in range(40):
            with connected(server.url, source=ATTACKER) as connection:
                request = post("/predict", image)
                connection.sendall(request[: len(request) * (k % 5 + 1) // 5])
                if k % 2:  # a reset instead of an end
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    asking = Connection(server.url)
    _, text = asking.ask("GET", "/metrics")
    assert "cifarops_queue_length 0.0" in text
    assert 'status="500"' not in text
    asking.close()
