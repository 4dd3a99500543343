import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from cifarops.data.sources.cifar10 import PYTHON, read_cifar10
from cifarops.data.sources.download import download
from cifarops.errors import IntegrityError, UnavailableError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT, and can break off, forget about ranges, or refuse.

    Attributes:
        breaks_after: Bytes after which each of the coming answers is cut off, one entry an answer.
        ranges: Whether it honours Range.
        status: What it answers instead, if not 200.
        location: Where it redirects to, if anywhere.
        asked: The Range header of each request.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.breaks_after: list[int] = []
        self.ranges = True
        self.status = 200
        self.location: str | None = None
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{PYTHON}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.location:
            self.send_response(302)
            self.send_header("Location", self.server.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        rest = CONTENT[start:]
        self.wfile.write(rest[: self.server.breaks_after.pop(0)] if self.server.breaks_after else rest)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetch(server: Server, folder: Path, md5: str = MD5) -> Path:
    return download(server.url, folder / PYTHON, md5=md5, remedy="Do it otherwise.")


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    fetch(server, tmp_path)
    assert server.asked == [None]
    assert not list(tmp_path.glob("*.part"))


def test_a_break_is_resumed_where_it_was(server: Server, tmp_path: Path) -> None:
    server.breaks_after = [1_000_000, 500_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    starts = [int(asked[6:-1]) if asked else 0 for asked in server.asked]
    assert starts[0] == 0
    assert starts == sorted(starts)
    assert 0 < starts[1] <= 1_000_000 < starts[2] <= 1_500_000


def test_what_an_earlier_run_fetched_is_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{PYTHON}.part").write_bytes(CONTENT[:2_000_000])
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == ["bytes=2000000-"]


def test_without_ranges_it_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.breaks_after = [1_000_000]
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_part_that_is_already_whole_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{PYTHON}.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == []


def test_a_part_that_is_as_long_but_not_the_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{PYTHON}.part").write_bytes(b"x" * len(CONTENT))
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-", None]


def test_a_server_that_never_sends_is_given_up(server: Server, tmp_path: Path) -> None:
    server.breaks_after = [0] * 50
    with pytest.raises(UnavailableError, match="can't be fetched") as caught:
        fetch(server, tmp_path)
    assert caught.value.fix == "Do it otherwise."
    assert len(server.asked) <= 10


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_refusal_is_told_at_once(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(UnavailableError, match=str(status)):
        fetch(server, tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "http://[", "/again"]
)
def test_a_redirect_leads_to_web_servers_only_and_not_forever(
    server: Server, tmp_path: Path, location: str
) -> None:
    server.location = location
    with pytest.raises(UnavailableError, match="can't be fetched"):
        fetch(server, tmp_path)
    assert [path for path in tmp_path.iterdir() if path.stat().st_size] == []
    assert len(server.asked) <= 50


def test_a_wrong_checksum_is_deleted_and_told(server: Server, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=MD5):
        fetch(server, tmp_path, md5="0" * 32)
    assert [path.name for path in tmp_path.iterdir()] == [f"{PYTHON}.lock"]


def test_a_part_of_something_else_is_found_out_and_the_next_run_works(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{PYTHON}.part").write_bytes(b"x" * 100)
    with pytest.raises(IntegrityError):
        fetch(server, tmp_path)
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_two_at_once_fetch_once(server: Server, tmp_path: Path) -> None:
    threads = [threading.Thread(target=fetch, args=(server, tmp_path)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == [None]
    assert (tmp_path / PYTHON).read_bytes() == CONTENT


def test_cifar10_from_an_address_must_be_official(server: Server, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="official"):
        read_cifar10(server.url, downloads=tmp_path, directory_url="unused")


def test_no_network_says_what_else_works(tmp_path: Path) -> None:
    with pytest.raises(
        UnavailableError, match=r"127\.0\.0\.1 can't be reached \(Connection refused\)"
    ) as caught:
        read_cifar10(None, downloads=tmp_path, directory_url="http://127.0.0.1:9/")
    assert "Pool" not in caught.value.message
    for way in ("--from", "CIFAROPS_CIFAR10_URL", "--source synthetic"):
        assert way in caught.value.fix
