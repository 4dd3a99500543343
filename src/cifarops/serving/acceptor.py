"""The HTTP server of one process: it accepts on a socket that other processes hold too, and can stop and go on."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import uvicorn

from cifarops.serving.channel import Channel, Word
from cifarops.serving.connection import Connection
from cifarops.serving.crowd import Crowd
from cifarops.serving.listening import BACKLOG

_TURN_SECONDS = 0.02
# For the client's word that an encrypted connection is over.
_FAREWELL_SECONDS = 1.0


class Acceptor(uvicorn.Server):
    """uvicorn's server on a shared listening socket.

    Args:
        config: uvicorn's configuration.
        listening: The listening socket; it stays open while this server does not accept, and is closed when it stops.
        crowd: Counts and bounds the connections.
        drain: Called first when the server is to stop: says to whoever asks that it is not ready.
        drain_s: Seconds from then on in which new connections are still taken, so that word gets around.
        on_started: Awaited when connections are accepted for the first time.
        on_stopping: Awaited before the server stops, while it still answers.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        listening: socket.socket,
        *,
        crowd: Crowd,
        drain: Callable[[], None],
        drain_s: float,
        on_started: Callable[[], Awaitable[None]],
        on_stopping: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self.servers = []
        self._listening = listening
        self._crowd = crowd
        self._drain = drain
        self._drain_s = drain_s
        self._on_started = on_started
        self._on_stopping = on_stopping
        self._heir: Channel | None = None
        self._giving: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def accepting(self) -> bool:
        """Whether new connections are accepted."""
        return bool(self.servers)

    def stop(self, *_: object) -> None:
        """Stop gracefully, soon; may be called by a signal or another thread, any number of times."""
        self.should_exit = True

    async def accept(self) -> None:
        """Accept connections, and keep the ones there are."""
        self._heir = None
        if not self.accepting:
            loop = asyncio.get_running_loop()
            server = await loop.create_server(
                self._connection,
                sock=self._listening.dup(),
                backlog=BACKLOG,
                ssl=self.config.ssl,
                ssl_shutdown_timeout=_FAREWELL_SECONDS if self.config.ssl else None,
            )
            self.servers.append(server)

    def yield_to(self, heir: Channel) -> None:
        """Accept nothing more, and give every connection away as soon as it is between two requests."""
        for server in self.servers:
            server.close()
        self.servers.clear()
        self._heir = heir
        self._giving = asyncio.get_running_loop().create_task(self._give())

    async def adopt(self, descriptor: int) -> None:
        """Go on with a connection that another process gave away."""
        given = socket.socket(fileno=descriptor)
        await asyncio.get_running_loop().connect_accepted_socket(self._connection, given)

    async def drained(self, limit_s: float) -> None:
        """Wait until no connection is left, for `limit_s` seconds at most."""
        deadline = asyncio.get_running_loop().time() + limit_s
        while self.server_state.connections and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_TURN_SECONDS)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept."""
        await self.lifespan.startup()
        self._watching = asyncio.get_running_loop().create_task(self._crowd.watch())
        await self.accept()
        self.started = True
        await self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what was begun, and stop."""
        self._drain()
        await self._on_stopping()
        if self.accepting:
            await asyncio.sleep(self._drain_s)
        # Unless another process holds it too, new clients are refused from now on instead of waiting in vain.
        self._listening.close()
        await super().shutdown(sockets)

    def _connection(self) -> Connection:
        return Connection(
            crowd=self._crowd,
            on_idle=self._offer,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    async def _give(self) -> None:
        while self._heir is not None and self.server_state.connections:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    self._offer(connection)
            await asyncio.sleep(_TURN_SECONDS)

    def _offer(self, connection: Connection) -> None:
        if self._heir is None or not connection.idle:
            return
        if connection.movable and self._heir.say(Word.CONNECTION, connection.descriptor()):
            connection.leave()
        else:
            connection.stay()
