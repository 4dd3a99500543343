"""One HTTP connection: it can go on in another process between two of its requests, and can't be slow or large at will."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cifarops.serving.caller import note_leaving
from cifarops.serving.crowd import Crowd
from cifarops.serving.problems import ProblemError
from cifarops.serving.sizes import MAX_IMAGE_BYTES

# Requests sent ahead of their answers.
_AHEAD = 16
# Seconds for what was answered to be read by the client, once the connection is to end.
_LINGER_SECONDS = 5.0
_STALL_SECONDS = 30.0


class Connection(HttpToolsProtocol):
    """uvicorn's connection with bounds on what a client may send and how slowly.

    It knows when it is between two requests and can be given away then.

    Args:
        crowd: All connections, among which there must be room for this one.
        on_idle: Called soon after each answer.
        options: What uvicorn's protocol takes.
    """

    def __init__(self, *, crowd: Crowd, on_idle: Callable[["Connection"], None], **options: Any) -> None:
        super().__init__(**options)
        self.ends_soon = False
        self.overdue_at = math.inf
        self._crowd = crowd
        self._limits = crowd.limits
        self._on_idle = on_idle
        self._address = ""
        self._inside_message = False
        self._inside_head = False
        self._head_bytes = 0
        self._unwanted_bytes = 0
        self._refused = False

    @property
    def idle(self) -> bool:
        """Whether nothing of a request was read and nothing of an answer is still to be sent."""
        answered = self.cycle is None or self.cycle.response_complete
        return (
            answered
            and not self._inside_message
            and not self.pipeline
            and not self._refused
            and not self.transport.is_closing()
            and not self.transport.get_write_buffer_size()
        )

    @property
    def movable(self) -> bool:
        """Whether another process can go on with it; the keys of an encrypted one live in this process."""
        return self.scheme == "http"

    def descriptor(self) -> int:
        """Stop reading and return the socket's descriptor: what the client sends from now on waits in the socket."""
        self.transport.pause_reading()
        return int(self.transport.get_extra_info("socket").fileno())

    def leave(self) -> None:
        """Forget the connection without ending it: another process holds its socket."""
        self._unset_keepalive_if_required()
        self.transport.abort()

    def stay(self) -> None:
        """Read again; the next answer says that the connection closes."""
        self.transport.resume_reading()
        self.ends_soon = True

    def expire(self) -> None:
        """End the connection, which was too slow; a client whose request is awaited is told so."""
        answered = self.cycle is None or self.cycle.response_complete
        if self._inside_head:
            awaited = answered
        else:
            awaited = self._inside_message and not self.pipeline and not self.cycle.response_started
        if awaited and not self._refused:
            self._crowd.refused("slow")
            self._refuse(ProblemError("too-slow", "The request did not arrive in time."))
        else:
            self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, with the whole keep-alive time for the first request: it may have come from another process."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        if not self._crowd.join(self, self._address):
            self._refuse(
                ProblemError(
                    "too-many-connections",
                    "Too many connections are open.",
                    headers={"Retry-After": "1"},
                )
            )
            self.transport.close()
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of what waits for this client."""
        self._crowd.part(self, self._address)
        if self.cycle is not None and not self.cycle.response_complete:
            note_leaving(self.cycle.scope)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head of a request grows too large."""
        if self._refused:
            return
        if self.overdue_at == math.inf and not self._inside_message:
            self.overdue_at = self.loop.time() + self._limits.head_s
        self._head_bytes += len(data)
        super().data_received(data)
        if self._inside_head and self._head_bytes > self._limits.head_bytes:
            self._refuse_head()

    def on_message_begin(self) -> None:
        """Note that a request has begun."""
        self._inside_message = self._inside_head = True
        self._head_bytes = 0
        self.overdue_at = self.loop.time() + self._limits.head_s
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Refuse a head that is too large; let the answer end the connection where that is due."""
        self._inside_head = False
        if self._refused:
            return
        self.overdue_at = self.loop.time() + self._limits.body_s
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if (
            size > self._limits.head_bytes
            or len(self.headers) > self._limits.headers
            or len(self.pipeline) >= _AHEAD
        ):
            self._refuse_head()
            return
        super().on_headers_complete()
        if self.ends_soon and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body; nobody wants more of one that was answered already."""
        if self._refused:
            return
        if self.cycle.response_complete:
            self._unwanted_bytes += len(body)
            if self._unwanted_bytes > MAX_IMAGE_BYTES:
                self.transport.abort()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that a request was read to its end."""
        self._inside_message = False
        self._unwanted_bytes = 0
        self.overdue_at = math.inf
        if not self._refused:
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request; whoever waits for this connection to be idle is called."""
        super().on_response_complete()
        if self.transport.is_closing():
            self.overdue_at = self.loop.time() + _LINGER_SECONDS
        # Not at once: the answer is written to the socket at the end of this turn of the loop.
        self.loop.call_soon(self._on_idle, self)

    def pause_writing(self) -> None:
        """Note that the client does not read what it asked for."""
        self.overdue_at = self.loop.time() + _STALL_SECONDS
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that it reads again."""
        self.overdue_at = math.inf
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that is idle."""
        self.overdue_at = self.loop.time() + _LINGER_SECONDS
        super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP."""
        self._crowd.refused("head")
        self._refuse(ProblemError("invalid-request", msg))

    def _path(self) -> str:
        return self.url.decode("latin-1") if self.scope is not None else ""

    def _refuse_head(self) -> None:
        self._crowd.refused("head")
        self._refuse(ProblemError("head-too-large", "The head of the request is too large."))

    def _refuse(self, problem: ProblemError) -> None:
        """Answer without the application, and end the connection once the client has read that."""
        self._refused = True
        self._unset_keepalive_if_required()
        answer = problem.response(self._path())
        head = b"".join(b"%s: %s\r\n" % header for header in answer.raw_headers)
        self.transport.write(
            STATUS_LINE[problem.status_code] + head + b"connection: close\r\n\r\n" + bytes(answer.body)
        )
        if self.transport.can_write_eof():
            # Closing now would reset the connection, and the answer with it, where the client still sends.
            self.transport.write_eof()
            self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
        else:
            self.transport.close()
