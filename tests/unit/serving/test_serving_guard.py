"""The guard around a trivial application: what gets through, and what the others are told."""

import asyncio
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from cifarops.serving.caller import caller_of
from cifarops.serving.guard import Guard
from cifarops.serving.journal import Journal
from cifarops.serving.metrics import Metrics
from cifarops.serving.options import Limits, Options
from cifarops.serving.queue import Queue
from cifarops.serving.tokens import Keyring, TokenFile

HOST = (b"host", b"127.0.0.1:8080")


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def kind(self) -> str:
        return str(json.loads(self.body)["type"]).removeprefix("/problems/")


class Server:
    """A guard with an application that says who asks."""

    def __init__(self, folder: Path, options: Options | None = None, *, any_host: bool = False) -> None:
        self.file = TokenFile(folder / "tokens.json")
        self.metrics = Metrics("production", "0")
        self.log = io.StringIO()
        self.journal = Journal(self.log, self.metrics)
        self.passed: list[Any] = []
        self._folder = folder
        self._options = options or Options()
        self._any_host = any_host
        self.guard = self._make()

    def _make(self) -> Guard:
        return Guard(
            self._answer,
            options=self._options,
            any_host=self._any_host,
            routes={"/predict", "/feedback", "/metrics"},
            keyring=Keyring(self.file),
            queue=Queue(1, self.metrics),
            metrics=self.metrics,
            journal=self.journal,
        )

    def token(self, *roles: str) -> tuple[bytes, bytes]:
        text = self.file.make("-".join(roles), roles)
        self.guard = self._make()
        return b"authorization", b"Bearer " + text.encode()

    def ask(
        self,
        path: str = "/predict",
        *headers: tuple[bytes, bytes],
        method: str = "POST",
        client: str = "127.0.0.1",
        host: tuple[bytes, bytes] | None = HOST,
    ) -> Answer:
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "headers": [*([host] if host else []), *headers],
            "client": (client, 1234),
        }
        answer = Answer()

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message["body"]

        async def receive() -> Message:
            raise AssertionError("a refusal reads no body")

        asyncio.run(self.guard(scope, receive, send))
        return answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.passed.append(caller_of(scope))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    def logged(self) -> list[dict[str, Any]]:
        with self.journal:
            pass
        return [json.loads(line) for line in self.log.getvalue().splitlines()]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "NONSENSE")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", ["/admin", "/admin/", "/admin/promote", "/admin/../admin/x"])
def test_admin_always_needs_a_deploy_token_whatever_the_method(
    server: Server, method: str, path: str
) -> None:
    assert server.ask(path, method=method).status == 401
    wrong = (b"authorization", b"Bearer cifarops_wrong")
    assert server.ask(path, wrong, method=method).status == 401
    other = server.token("predict", "feedback")
    refused = server.ask(path, other, method=method)
    assert (refused.status, refused.kind) == (403, "wrong-role")
    assert not server.passed
    assert server.ask(path, server.token("deploy"), method=method).status == 200


def test_without_tokens_this_machine_may_predict_and_with_them_only_who_has_one(server: Server) -> None:
    assert server.ask("/predict").status == 200
    predict, feedback = server.token("predict"), server.token("feedback")
    refused = server.ask("/predict")
    assert (refused.status, refused.kind) == (401, "no-token")
    assert refused.headers["www-authenticate"] == "Bearer"
    for path in ("/predict", "/v2/models/m/infer", "/invocations", "/nonsense", "/v2"):
        assert server.ask(path, predict).status == 200, path
        assert server.ask(path, feedback).kind == "wrong-role", path
    assert server.ask("/feedback", feedback).status == 200
    assert server.ask("/feedback", predict).kind == "wrong-role"


@pytest.mark.parametrize(
    "value", [b"", b"Bearer", b"Bearer ", b"Basic YTpi", b"bearer x", b"Bearer \xff\x00"]
)
def test_what_is_no_token_is_none(server: Server, value: bytes) -> None:
    server.token("predict")
    assert server.ask("/predict", (b"authorization", value)).status == 401


def test_health_is_open_and_metrics_are_to_this_machine_and_to_tokens(server: Server) -> None:
    token = server.token("feedback")
    for path in ("/", "/ping", "/v2/health/live", "/v2/health/ready", "/openapi.json"):
        assert server.ask(path, method="GET", client="10.1.1.1").status == 200
    for path in ("/metrics", "/version"):
        assert server.ask(path, method="GET").status == 200
        assert server.ask(path, method="GET", client="10.1.1.1").status == 401
        assert server.ask(path, (b"x-forwarded-for", b"127.0.0.1"), method="GET").status == 401
        assert server.ask(path, token, method="GET", client="10.1.1.1").status == 200


@pytest.mark.parametrize(
    "host",
    [b"localhost", b"LOCALHOST:80", b"127.0.0.1", b"[::1]:8080", b"10.0.0.7:1", b"models.example.org:80"],
)
def test_known_names_and_addresses_are_answered(tmp_path: Path, host: bytes) -> None:
    server = Server(tmp_path, Options(hosts=("models.example.org",)))
    assert server.ask(host=(b"host", host)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",
        b"127.0.0.1.evil.example",
        b"",
        b"localhost.evil.example",
        b"\xff",
        b"[",
        b"localhost@evil",
    ],
)
def test_other_names_are_refused(tmp_path: Path, host: bytes) -> None:
    server = Server(tmp_path, Options(hosts=("models.example.org",)))
    assert server.ask(host=(b"host", host)).kind == "wrong-host"
    assert Server(tmp_path, any_host=True).ask(host=(b"host", host)).status == 200


def test_a_request_has_one_host(server: Server) -> None:
    assert server.ask(host=None).status == 400
    assert server.ask("/predict", HOST).status == 400


def test_pages_of_other_sites_may_look_and_not_send(tmp_path: Path) -> None:
    server = Server(tmp_path, Options(origins=("https://tool.example.org",)))
    for origin in (b"https://evil.example", b"null", b"http://127.0.0.1:9999", b"https://127.0.0.1:8080"):
        assert server.ask("/predict", (b"origin", origin)).kind == "wrong-origin", origin
        assert server.ask("/version", (b"origin", origin), method="GET").status == 200
    for origin in (b"http://127.0.0.1:8080", b"https://tool.example.org"):
        assert server.ask("/predict", (b"origin", origin)).status == 200, origin


def test_each_client_has_a_rate_of_its_own(tmp_path: Path) -> None:
    server = Server(tmp_path, Options(limits=Limits(rate=0.5, burst=2)))
    assert [server.ask().status for _ in range(3)] == [200, 200, 429]
    assert server.ask().headers["retry-after"] == "2"
    assert server.ask("/v2/health/ready", method="GET").status == 200
    assert server.ask(client="10.1.1.1").status == 200
    token = server.token("predict")
    assert [server.ask("/predict", token).status for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("value", [b"0", b"-1", b"nan", b"soon", b"", b"-inf"])
def test_a_deadline_is_a_positive_number(server: Server, value: bytes) -> None:
    expected = 400 if value else 200
    assert server.ask("/predict", (b"x-request-timeout", value)).status == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(b"0.25", 0.25), (b"3600", 10), (b"inf", 10), (b"1e-3", 0.001)]
)
def test_a_client_can_ask_for_less_time_and_not_for_more(
    server: Server, value: bytes, expected: float
) -> None:
    server.ask("/predict", (b"x-request-timeout", value))
    assert server.passed[0].timeout_s == expected


def test_encoded_bodies_are_refused(server: Server) -> None:
    for encoding in (b"gzip", b"br", b"deflate, gzip", b"GZIP"):
        assert server.ask("/predict", (b"content-encoding", encoding)).status == 415
    assert server.ask("/predict", (b"content-encoding", b"identity")).status == 200


def test_a_request_id_is_taken_over_or_made(server: Server) -> None:
    assert server.ask("/predict", (b"x-request-id", b"Ab-1_2.3")).headers["x-request-id"] == "Ab-1_2.3"
    for odd in (b"", b"a b", b"x" * 65, b'a"', b"a\nb", "ä".encode()):
        made = server.ask("/predict", (b"x-request-id", odd)).headers["x-request-id"]
        assert len(made) == 16
        assert made.isalnum()


def test_the_log_tells_who_what_and_why_and_can_not_be_forged(tmp_path: Path) -> None:
    server = Server(tmp_path, Options(log="all"))
    forged = '/x\n{"event": "request", "status": 200}\r\u2028\x1b[2J'
    server.ask(forged, (b"x-request-id", b"id-1"), client="10.1.1.1")
    token = server.token("predict")
    server.ask("/feedback", token)
    first, second = server.logged()
    assert first["path"] == forged
    assert (first["id"], first["client"], first["status"], first["token"]) == ("id-1", "10.1.1.1", 200, None)
    assert (second["token"], second["status"], second["method"]) == ("predict", 403, "POST")
    raw = server.log.getvalue()
    assert raw.isascii()
    assert raw.count("\n") == 2
    assert "\x1b" not in raw
    assert token[1].decode().removeprefix("Bearer ") not in raw


def test_only_refusals_and_failures_are_logged_unless_all_is_asked_for(server: Server) -> None:
    server.ask("/predict")
    server.ask("/admin")
    assert [entry["status"] for entry in server.logged()] == [401]


def test_no_client_adds_a_series(server: Server) -> None:
    for k in range(200):
        server.ask(f"/nothing/{k}", (b"x-request-id", b"%d" % k), method=f"M{k}", client=f"10.0.0.{k}")
        server.ask(f"/admin/{k}", (b"authorization", b"Bearer %d" % k))
    lines = server.metrics.exposition().decode().splitlines()
    assert len([line for line in lines if line.startswith("cifarops_requests_total{")]) == 2
    assert len(lines) < 400


def test_a_server_that_is_to_stop_is_live_and_not_ready(server: Server) -> None:
    server.guard.drain()
    for path in ("/v2/health/ready", "/ping", "/v2/models/cifarops/ready"):
        assert server.ask(path, method="GET").status == 503
    for path in ("/v2/health/live", "/predict"):
        answer = server.ask(path)
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
