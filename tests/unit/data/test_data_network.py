import base64
import hashlib
import select
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from urllib3 import exceptions

from cifarops.data.sources.download import download
from cifarops.data.sources.network import explain, open_pool
from cifarops.errors import UnavailableError

CONTENT = b"an archive"


class Running(ThreadingHTTPServer):
    """A server of this process.

    Attributes:
        asked: The first line of each request.
        login: What a proxy wants to hear, or None.
    """

    daemon_threads = True

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.asked: list[str] = []
        self.login: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Quiet(BaseHTTPRequestHandler):
    server: Running

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Origin(Quiet):
    def do_GET(self) -> None:
        self.server.asked.append(self.requestline)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)


class Proxy(Quiet):
    """Fetches plain requests itself, and joins both ends of a tunnel."""

    def do_GET(self) -> None:
        if self._allowed():
            host, _, path = self.path.removeprefix("http://").partition("/")
            with socket.create_connection(_address(host)) as origin:
                origin.sendall(f"GET /{path} HTTP/1.0\r\n\r\n".encode())
                while data := origin.recv(65536):
                    self.wfile.write(data)

    def do_CONNECT(self) -> None:
        if self._allowed():
            with socket.create_connection(_address(self.path)) as origin:
                self.send_response(200)
                self.end_headers()
                _join(self.connection, origin)

    def _allowed(self) -> bool:
        self.server.asked.append(self.requestline)
        login = self.server.login
        if (
            login
            and self.headers["Proxy-Authorization"] != f"Basic {base64.b64encode(login.encode()).decode()}"
        ):
            self.send_error(407)
            return False
        return True


def _address(host: str) -> tuple[str, int]:
    name, _, port = host.partition(":")
    return name, int(port)


def _join(one: socket.socket, other: socket.socket) -> None:
    while True:
        for ready in select.select([one, other], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)


def _serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[Running]:
    with Running(handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def origin() -> Iterator[Running]:
    yield from _serve(Origin)


@pytest.fixture
def proxy() -> Iterator[Running]:
    yield from _serve(Proxy)


def _fetch(url: str, folder: Path) -> bytes:
    digest = hashlib.md5(CONTENT).hexdigest()
    return download(url, folder / "archive", md5=digest, remedy="Do it otherwise.").read_bytes()


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_used(
    origin: Running, proxy: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, proxy.url)
    assert _fetch(f"{origin.url}/archive", tmp_path) == CONTENT
    assert proxy.asked == [f"GET {origin.url}/archive HTTP/1.1"]


def test_https_goes_through_a_tunnel(
    origin: Running, proxy: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.removeprefix("http://"))
    with pytest.raises(UnavailableError, match=r"no secure connection to 127\.0\.0\.1"):
        _fetch(f"https://127.0.0.1:{origin.server_port}/archive", tmp_path)  # which speaks http only
    assert proxy.asked[0].startswith(f"CONNECT 127.0.0.1:{origin.server_port}")


def test_a_proxys_login_is_sent_and_never_told(
    origin: Running, proxy: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.login = "me:p@ss"
    login = f"http://me:p%40ss@127.0.0.1:{proxy.server_port}"  # allow-secret
    monkeypatch.setenv("HTTP_PROXY", login)
    assert _fetch(f"{origin.url}/archive", tmp_path) == CONTENT
    proxy.login = "another:login"
    monkeypatch.setenv("HTTPS_PROXY", login)
    with pytest.raises(UnavailableError, match=r"the proxy 127\.0\.0\.1 refused .*407") as caught:
        _fetch("https://images.example/archive", tmp_path / "again")
    assert "p%40ss" not in caught.value.message


@pytest.mark.parametrize("exception", ["127.0.0.1", "*"])
def test_an_excepted_host_is_asked_directly(
    origin: Running, proxy: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exception: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", exception)
    assert _fetch(f"{origin.url}/archive", tmp_path) == CONTENT
    assert proxy.asked == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://127.0.0.1:9", r"the proxy 127\.0\.0\.1 can't be reached \(Connection refused\)"),
        ("http://proxy.invalid:80", r"the name of the proxy proxy\.invalid can't be resolved"),
        ("socks5://127.0.0.1:9", "unsupported scheme socks5"),
    ],
)
def test_a_proxy_that_does_not_work_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, message: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(UnavailableError, match=message):
        _fetch("http://images.example/archive", tmp_path)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "http://images.invalid/x",
            "the name of images.invalid can't be resolved (no network, or a wrong name)",
        ),
        ("http://127.0.0.1:9/x", "127.0.0.1 can't be reached (Connection refused)"),
        ("https://127.0.0.1:9/x", "127.0.0.1 can't be reached (Connection refused)"),
    ],
)
def test_what_stands_in_the_way_is_said_plainly(url: str, message: str) -> None:
    with open_pool(url) as pool, pytest.raises(exceptions.HTTPError) as caught:
        pool.request("GET", url)
    assert explain(caught.value, url) == message


def test_a_host_that_does_not_answer() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with open_pool(url) as pool, pytest.raises(exceptions.HTTPError) as caught:
            pool.request("GET", url, timeout=0.1)
    assert explain(caught.value, url) == "127.0.0.1 did not answer in time"
