import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from cifarops.deployment import environment
from cifarops.deployment.environment import ask, find_server, status
from cifarops.deployment.settle import settle
from cifarops.errors import UnavailableError
from cifarops.ledger.store import Ledger
from cifarops.serving.client import Client
from tests.support.bundles import colour_bundle
from tests.support.serving import set_version


@pytest.fixture(params=[b"<html>", b"[]", json.dumps({"detail": "another service"}).encode()])
def stranger(request: pytest.FixtureRequest) -> Iterator[str]:
    """Another program's HTTP server at the address where ours was."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(request.param)))
            self.end_headers()
            self.wfile.write(request.param)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_stranger_at_the_address_is_no_server_of_ours(stranger: str, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="no cifarops server"):
        Client(stranger).version()
    assert ask(stranger, "production").gone
    state = set_version(tmp_path / "ledger.db", 1, colour_bundle(tmp_path / "bundles"))
    with Ledger(tmp_path / "ledger.db") as ledger:
        ledger.announce_server("production", stranger, 1)
        assert settle(state, ledger, timeout_s=5).problem is None
        assert ledger.servers("production") == []


def test_one_that_takes_connections_and_is_silent_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_ASK_SECONDS", 0.1)
    state = set_version(tmp_path / "ledger.db", 1, colour_bundle(tmp_path / "bundles"))
    with socket.create_server(("127.0.0.1", 0)) as silent, Ledger(tmp_path / "ledger.db") as ledger:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert not ask(url, "production").gone
        ledger.announce_server("production", url, 1)
        problem = settle(state, ledger, timeout_s=0.2).problem
        assert problem is not None
        assert url in problem
        assert ledger.servers("production") == [url]


def test_status_of_a_new_workspace_is_empty(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        found = status(ledger, tmp_path / "releases")
    assert [entry.row() for entry in found] == [
        (name, None, None, None, None, None, None) for name in ("development", "staging", "production")
    ]


def test_no_server_is_found_in_an_empty_workspace_and_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="No server of staging"):
        find_server("staging", ledger=tmp_path / "ledger.db")
    assert list(tmp_path.iterdir()) == []
