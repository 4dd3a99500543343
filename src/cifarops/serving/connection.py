"""One HTTP connection that can go on in another process between two of its requests."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Connection(HttpToolsProtocol):
    """uvicorn's connection that knows when it is between two requests and can be given away then.

    Args:
        on_idle: Called soon after each answer.
        options: What uvicorn's protocol takes.
    """

    def __init__(self, *, on_idle: Callable[["Connection"], None], **options: Any) -> None:
        super().__init__(**options)
        self.ends_soon = False
        self._on_idle = on_idle
        self._inside_message = False

    @property
    def idle(self) -> bool:
        """Whether nothing of a request was read and nothing of an answer is still to be sent."""
        answered = self.cycle is None or self.cycle.response_complete
        return (
            answered
            and not self._inside_message
            and not self.pipeline
            and not self.transport.is_closing()
            and not self.transport.get_write_buffer_size()
        )

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

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, with the whole keep-alive time for the first request: it may have come from another process."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def on_message_begin(self) -> None:
        """Note that a request has begun."""
        self._inside_message = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Let the answer end the connection where that is due."""
        super().on_headers_complete()
        if self.ends_soon and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Note that a request was read to its end."""
        self._inside_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request; whoever waits for this connection to be idle is called."""
        super().on_response_complete()
        # Not at once: the answer is written to the socket at the end of this turn of the loop.
        self.loop.call_soon(self._on_idle, self)
