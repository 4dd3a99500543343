"""What every request passes before the application: who asks, from where, how often, and whether there is room.

It stands around the whole application, so a refusal costs next to nothing and its body is not read.
"""

import ipaddress
import math
import secrets
import time
from collections.abc import Collection
from functools import lru_cache
from typing import Any, Literal

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cifarops.serving.caller import Caller, caller_of, introduce
from cifarops.serving.journal import Journal
from cifarops.serving.metrics import VERSION_KEY, Metrics, Refusal
from cifarops.serving.options import Options
from cifarops.serving.problems import ProblemError
from cifarops.serving.queue import Queue
from cifarops.serving.rate import Rate
from cifarops.serving.tokens import Keyring, Role, Token

_OPEN = frozenset({"/", "/ping", "/openapi.json", "/v2/health/live", "/v2/health/ready"})
_CARE = frozenset({"/metrics", "/version"})
_ID_SIGNS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
_ID_LENGTH = 64
_LONGEST_PATH = 200
_READING = ("GET", "HEAD")


def needs(path: str) -> Role | Literal["any"] | None:
    """Return which role a path needs where tokens are required; `any` of them, or None for what everyone may ask."""
    if path in _OPEN:
        return None
    if path in _CARE:
        return "any"
    if path == "/admin" or path.startswith("/admin/"):
        return "deploy"
    return "feedback" if path == "/feedback" else "predict"


class Guard:
    """Middleware around the application of one server.

    Args:
        app: The application.
        options: Names and origins that are accepted, and limits.
        any_host: Accept every name, because something in front of the server decides who reaches it.
        routes: Paths that may stand in metrics where a request never reaches its route.
        keyring: The tokens.
        queue: Asked whether there is room before a body is read.
        metrics: Where requests are counted.
        journal: Where they are logged.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        options: Options,
        any_host: bool,
        routes: Collection[str],
        keyring: Keyring,
        queue: Queue,
        metrics: Metrics,
        journal: Journal,
    ) -> None:
        self._app = app
        self._options = options
        self._any_host = any_host
        self._routes = frozenset(routes)
        self._keyring = keyring
        self._queue = queue
        self._metrics = metrics
        self._journal = journal
        limits = options.limits
        self._rate = Rate(limits.rate, limits.burst) if limits.rate else None
        self._known_host = lru_cache(64)(self._is_known_host)
        self._draining = False

    def drain(self) -> None:
        """Say from now on that this server is not ready, and end each connection with its next answer."""
        self._draining = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = time.perf_counter()
        head = _Head(scope["headers"])
        request_id = head.request_id or secrets.token_hex(8)
        added = [(b"x-request-id", request_id.encode())]
        if self._draining:
            added.append((b"connection", b"close"))
        status = 500

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                nonlocal status
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        try:
            self._admit(scope, head)
        except ProblemError as problem:
            await problem.response(scope["path"])(scope, receive, noting)
        else:
            await self._app(scope, receive, noting)
        finally:
            self._note(scope, status, time.perf_counter() - began, request_id)

    def _admit(self, scope: Scope, head: "_Head") -> None:
        """Refuse a request that may not be answered.

        Raises:
            ProblemError: Why.
        """
        self._check_source(scope, head)
        path = scope["path"]
        address = scope["client"][0] if scope["client"] else ""
        self._keyring.refresh(time.monotonic())
        token = self._keyring.find(head.bearer) if head.bearer else None
        caller = Caller(
            f"token {token.name}" if token else address,
            timeout_s=self._timeout_s(head),
            token=token.name if token else None,
        )
        introduce(scope, caller)
        role = needs(path)
        if role is not None and (self._keyring.required or role == "deploy"):
            near = role == "any" and not head.forwarded and _is_loopback(address)
            if not near:
                self._check_token(token, role)
        if self._draining and (path == "/ping" or path.endswith("/ready")):
            raise ProblemError("not-ready", "The server is about to stop.", headers={"Retry-After": "1"})
        if role not in (None, "any"):
            self._check_room(scope["method"], head, caller, predicts=role == "predict")

    def _check_source(self, scope: Scope, head: "_Head") -> None:
        if head.hosts > 1 or (head.hosts == 0 and scope["http_version"] == "1.1"):
            self._refuse("host", "invalid-request", "A request has exactly one Host.")
        if head.hosts and not self._any_host and not self._known_host(head.host):
            self._refuse(
                "host",
                "wrong-host",
                "This server does not answer under that name. Its names stand under `hosts` in serving.yaml.",
            )
        if head.origin and scope["method"] not in _READING:
            own = head.origin.lower() == b"%s://%s" % (scope["scheme"].encode(), head.host.lower())
            if not own and head.origin.decode("latin-1") not in self._options.origins:
                self._refuse(
                    "origin",
                    "wrong-origin",
                    "Pages of other sites may not ask this server. Those that may stand under `origins` in serving.yaml.",
                )

    def _check_token(self, token: Token | None, role: Role | Literal["any"]) -> None:
        if token is None:
            self._metrics.refused("token")
            if self._keyring.error:
                raise ProblemError(
                    "tokens-unreadable",
                    "The server can't read its tokens; `cifarops serve token list` says why.",
                )
            raise ProblemError(
                "no-token",
                "A valid token is needed: Authorization: Bearer TOKEN. Make one: cifarops serve token make NAME --role"
                f" {role if role != 'any' else 'predict'}",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if role != "any" and role not in token.roles:
            self._refuse("role", "wrong-role", f"This needs a token with the role {role}.")

    def _check_room(self, method: str, head: "_Head", caller: Caller, *, predicts: bool) -> None:
        if self._rate and (wait := self._rate.wait_s(caller.client, time.monotonic())):
            self._metrics.refused("rate")
            raise ProblemError(
                "too-many-requests",
                f"More than {self._options.limits.rate:g} requests a second came from you.",
                headers={"Retry-After": str(math.ceil(wait))},
            )
        if method in _READING:
            return
        if head.encoding not in (b"", b"identity"):
            self._refuse("body", "unsupported-encoding", "Send the body as it is, without Content-Encoding.")
        if predicts:
            self._queue.check(caller)

    def _timeout_s(self, head: "_Head") -> float:
        limit = self._options.limits.deadline_s
        if not head.timeout:
            return limit
        try:
            wanted = float(head.timeout)
        except ValueError:
            wanted = 0.0
        if not wanted > 0:
            raise ProblemError("invalid-request", "X-Request-Timeout is a number of seconds above 0.")
        return min(wanted, limit)

    def _is_known_host(self, host: bytes) -> bool:
        name = _name(host.decode("latin-1").lower())
        return name == "localhost" or name in self._options.hosts or _is_address(name)

    def _refuse(self, reason: Refusal, kind: str, detail: str) -> None:
        self._metrics.refused(reason)
        raise ProblemError(kind, detail)

    def _note(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        path = scope["path"]
        template = getattr(scope.get("route"), "path", None)
        route = template or (path if path in self._routes else "other")
        version = str(scope.get(VERSION_KEY, ""))
        self._metrics.answered(route, status, version, seconds)
        if status >= 400 or self._options.log == "all":
            self._journal.add(
                "request",
                "error" if status >= 500 else "info",
                id=request_id,
                client=scope["client"][0] if scope["client"] else None,
                token=caller_of(scope).token,
                method=scope["method"],
                path=path[:_LONGEST_PATH],
                status=status,
                version=version or None,
                ms=round(seconds * 1000, 2),
            )


class _Head:
    """The headers that the guard looks at, read in one pass."""

    __slots__ = ("bearer", "encoding", "forwarded", "host", "hosts", "origin", "request_id", "timeout")

    def __init__(self, headers: list[tuple[bytes, bytes]]) -> None:
        self.bearer = self.request_id = ""
        self.encoding = self.host = self.origin = self.timeout = b""
        self.hosts = 0
        self.forwarded = False
        for name, value in headers:
            if name == b"host":
                self.host = value
                self.hosts += 1
            elif name == b"authorization":
                scheme, _, text = value.partition(b" ")
                self.bearer = text.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
            elif name == b"x-request-id":
                given = value.decode("latin-1")
                self.request_id = given if len(given) <= _ID_LENGTH and _ID_SIGNS.issuperset(given) else ""
            elif name == b"x-request-timeout":
                self.timeout = value
            elif name == b"origin":
                self.origin = value
            elif name == b"content-encoding":
                self.encoding = value.strip().lower()
            elif name in (b"x-forwarded-for", b"forwarded", b"via"):
                self.forwarded = True


def _name(host: str) -> str:
    """Return a Host header's name without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    """Whether a name is a plain address: no one can make a browser believe that another site has it."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")


def paths_of(app: Any) -> set[str]:
    """Return the paths of an application's routes that have no parameter."""
    return {path for route in app.routes if "{" not in (path := getattr(route, "path", "{"))}
