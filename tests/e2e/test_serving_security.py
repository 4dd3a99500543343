"""Tokens, certificates and names at a real server; what it says in its log."""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from cifarops.cli.main import build
from cifarops.deployment.process import ServerProcess
from cifarops.serving.client import Client
from cifarops.serving.tokens import TokenFile
from tests.support.abuse import survived
from tests.support.bundles import colour_image
from tests.support.serving import Connection, colour_workspace, settings_of

pytestmark = pytest.mark.e2e

IMAGE = colour_image("red")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    colour_workspace(tmp_path)
    return tmp_path


@pytest.fixture
def server(workspace: Path) -> Iterator[ServerProcess]:
    with ServerProcess("production", workspace=workspace) as process:
        yield process


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def logged(server: ServerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def test_tokens_are_made_rotated_and_revoked_without_a_restart(
    server: ServerProcess, workspace: Path
) -> None:
    tokens, connection = TokenFile(settings_of(workspace).tokens), Connection(server.url)

    def status(token: str | None) -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return connection.ask("POST", "/predict", IMAGE, headers)[0]

    with survived_with_token(server, tokens):
        assert status(None) == 401
        old = tokens.make("old", ["predict"])
        eventually(lambda: status(old) == 200)
        new = tokens.make("new", ["predict"])
        eventually(lambda: status(new) == 200)
        tokens.revoke("old")
        eventually(lambda: status(old) == 401)
        assert status(new) == 200
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            for path in ("/admin", "/admin/swap", "/%61dmin/swap"):
                asked = connection.ask(method, path, headers={"Authorization": f"Bearer {new}"})
                assert asked[0] == 403, (method, path)
                assert connection.ask(method, path)[0] == 401
    connection.close()


def survived_with_token(server: ServerProcess, tokens: TokenFile) -> Any:
    """Turn the checking of tokens on, and see whether the server stands; a bystander without one would be refused."""
    text = tokens.make("bystander", ["predict"])
    return survived(server, token=text)


def test_the_command_line_uses_a_token_that_it_is_given(
    server: ServerProcess, workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = TokenFile(settings_of(workspace).tokens).make("ada", ["predict", "feedback"])
    image = tmp_path / "red.png"
    image.write_bytes(IMAGE)
    client = Client(server.url, token=text)
    eventually(lambda: Connection(server.url).predict(IMAGE)[0] == 401)
    assert client.feedback(client.predict(IMAGE).prediction_id, "red") == "recorded"
    monkeypatch.setenv("CIFAROPS_TOKEN", text)
    monkeypatch.setenv("CIFAROPS_WORKSPACE", str(workspace))
    with pytest.raises(SystemExit) as ended:
        build()(["predict", str(image), "--url", server.url])
    assert ended.value.code in (0, None)


def test_other_names_and_sites_are_refused(server: ServerProcess) -> None:
    connection = Connection(server.url)
    with survived(server):
        for path in ("/predict", "/feedback", "/v2/models/cifarops/infer"):
            assert connection.ask("POST", path, IMAGE, {"Host": "evil.example"})[0] == 421
            assert connection.ask("POST", path, IMAGE, {"Origin": "https://evil.example"})[0] == 403
    assert connection.ask("GET", "/metrics", headers={"Host": "evil.example"})[0] == 421
    connection.close()


def test_a_wide_address_needs_a_token(workspace: Path) -> None:
    def start() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "cifarops.cli.main", "serve", "--host", "0.0.0.0", "--port", "1"],
            env={"CIFAROPS_WORKSPACE": str(workspace), "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    refused = start()
    assert refused.returncode == 2
    assert "without a token" in refused.stderr
    assert "cifarops serve token make" in refused.stderr
    TokenFile(settings_of(workspace).tokens).make("ada", ["predict"])
    with ServerProcess("production", workspace=workspace, arguments=("--host", "0.0.0.0")) as server:
        assert server.url.startswith("http://127.0.0.1:")
        assert Connection(server.url).predict(IMAGE)[0] == 401


def test_with_a_certificate_everything_is_encrypted(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = workspace / "cert.pem", workspace / "key.pem"
    subprocess.run(
        shlex.split(
            f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=here -keyout {key} -out {certificate}"
            " -addext subjectAltName=IP:127.0.0.1"
        ),
        check=True,
        capture_output=True,
    )
    settings_of(workspace).serving.write_text("tls: {certificate: cert.pem, key: key.pem}\n")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with ServerProcess("production", workspace=workspace) as server:
        assert server.url.startswith("https://")
        client = Client(server.url)
        assert client.predict(IMAGE).label == "red"
        assert client.version().pid == server.pid
        with pytest.raises(urllib3.exceptions.HTTPError):
            urllib3.request("GET", server.url.replace("https", "http") + "/version", retries=False, timeout=5)
        assert client.predict(IMAGE).label == "red"
    key.write_text("no key")
    with pytest.raises(Exception, match="can't be used"):
        ServerProcess("production", workspace=workspace).__enter__()


def test_the_log_has_a_line_for_every_refusal_and_nothing_of_an_image(server: ServerProcess) -> None:
    connection, secret = Connection(server.url), b"NOT-TO-BE-LOGGED" * 10
    connection.ask("POST", "/predict", secret, {"X-Request-ID": "mine-1"})
    connection.ask("POST", '/x%0a{"event":"forged"}%0d%1b[2J', secret)
    connection.ask("POST", "/invocations", b'{"NOT-TO-BE-LOGGED": 1}', {"Content-Type": "application/json"})
    connection.close()
    eventually(lambda: len(logged(server)) >= 3)
    first, second, third = logged(server)[:3]
    assert (first["id"], first["status"], first["client"]) == ("mine-1", 422, "127.0.0.1")
    assert second["path"] == '/x\n{"event":"forged"}\r\x1b[2J'
    assert third["status"] == 400
    text = server.log.read_text()
    assert "NOT-TO-BE-LOGGED" not in text
    assert all(line.startswith(("{", "serving ")) for line in text.splitlines())


def test_no_client_adds_series_without_bound(server: ServerProcess) -> None:
    connection = Connection(server.url)
    with survived(server):
        for k in range(1500):
            connection.ask("GET", f"/v2/models/m{k}/versions/{k}", headers={"X-Request-ID": f"flood-{k}"})
            connection.ask(f"M{k}"[:3] + "X", f"/{k}", headers={"X-Forwarded-For": f"10.0.{k % 256}.1"})
    _, after = connection.ask("GET", "/metrics")
    assert len(after.splitlines()) < 400
    connection.close()
