"""Replacing a running server by another process on the same listening socket, without one failed request.

    successor                         predecessor
       │── TAKE_OVER ──────────────────────▶│ answers
       │◀───────── LISTENING + socket ──────│ answers
     loads its model, rehearses             │ answers
       │── READY ──────────────────────────▶│ accepts no more
       │◀───────────────────── YIELDED ─────│
    answers ◀── CONNECTION + socket, … ─────│ finishes its requests, gives every idle connection away
       │                                    │ stands by
       │── DONE ───────────────────────────▶│ ends

A predecessor that stands by still holds the listening socket. When its successor says BACK, or is gone, it accepts
again: connections that came meanwhile have waited in the socket's queue.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from cifarops.errors import ConflictError, UnavailableError
from cifarops.serving.acceptor import Acceptor
from cifarops.serving.channel import Channel, Word

_YIELD_SECONDS = 5.0
# Longer than a connection may be idle: what could not be given away has ended by then.
LINGER_SECONDS = 90.0
BACK_SECONDS = 10.0


def receive_socket(predecessor: Channel) -> socket.socket:
    """Ask a running server for its listening socket.

    Raises:
        ConflictError: Another process is taking over.
        UnavailableError: It does not answer.
    """
    predecessor.say(Word.TAKE_OVER)
    heard = predecessor.hear()
    if heard is not None and heard[0] is Word.BUSY:
        raise ConflictError(
            "Another server is taking over already.", fix="Wait for it; then: cifarops deploy status"
        )
    if heard is None or heard[0] is not Word.LISTENING or heard[1] is None:
        raise UnavailableError(
            "The running server does not hand over its socket.",
            fix="Stop it and start anew: cifarops deploy stop, then cifarops deploy start",
        )
    return socket.socket(fileno=heard[1])


class Handover:
    """One server's part in being replaced and in replacing.

    Args:
        control: Where successors connect, or None where that socket could not be made.
        listening: What is handed over.
        predecessor: Who is replaced, or None.
        standby_s: Seconds that the predecessor stands by.
        announce: Says that requests are answered here from now on; called in a thread.
        retire: Says that they are no more; called in a thread.
    """

    def __init__(
        self,
        control: socket.socket | None,
        listening: socket.socket,
        *,
        predecessor: Channel | None,
        standby_s: float,
        announce: Callable[[], None],
        retire: Callable[[], None],
    ) -> None:
        self._control = control
        self._listening = listening
        self._predecessor = predecessor
        self._standby_s = standby_s
        self._announce = announce
        self._retire = retire
        self._successor: Channel | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Kept open to the end of the process: who asks a server to stop waits for that.
        self._channels: list[Channel] = []
        self.server: Acceptor

    async def start(self) -> None:
        """Tell a predecessor to yield, then the world; listen for a successor."""
        self._spawn(self._begin())
        if self._control is not None:
            self._spawn(self._receive(self._control))

    async def stop(self) -> None:
        """Leave every connection in good hands, as far as there are others."""
        await asyncio.to_thread(self._retire)
        if self._predecessor is not None:
            self._predecessor.say(Word.BACK)
            self.server.yield_to(self._predecessor)
            await self.server.drained(BACK_SECONDS)
        elif self._successor is not None and not self.server.accepting:
            await self.server.drained(LINGER_SECONDS)
        for task in self._tasks:
            task.cancel()

    async def _begin(self) -> None:
        if self._predecessor is None:
            await asyncio.to_thread(self._announce)
            return
        predecessor = self._predecessor
        predecessor.say(Word.READY)
        try:
            yielded = await asyncio.wait_for(predecessor.listen(), _YIELD_SECONDS)
        except TimeoutError:  # it hangs: all the more reason to go on
            yielded = (Word.YIELDED, None)
        await asyncio.to_thread(self._announce)
        if yielded is None:
            self._predecessor = None
            return
        asyncio.get_running_loop().call_later(self._standby_s, self._release)
        while heard := await predecessor.listen():
            word, descriptor = heard
            if word is Word.CONNECTION and descriptor is not None:
                await self.server.adopt(descriptor)
        self._predecessor = None

    def _release(self) -> None:
        """Let the predecessor end; what it still answers is given over when it is done."""
        if self._predecessor is not None:
            self._predecessor.say(Word.DONE)
            self._predecessor = None

    async def _receive(self, control: socket.socket) -> None:
        while True:
            connected, _ = await asyncio.get_running_loop().sock_accept(control)
            channel = Channel(connected)
            self._spawn(self._converse(channel))

    async def _converse(self, channel: Channel) -> None:
        self._channels.append(channel)
        while heard := await channel.listen():
            await self._obey(channel, *heard)
        self._channels.remove(channel)
        channel.close()
        if channel is self._successor:
            self._successor = None
            await self._resume()

    async def _obey(self, channel: Channel, word: Word, descriptor: int | None) -> None:
        if word is Word.STOP:
            self._release()
            self.server.stop()
        elif word is Word.TAKE_OVER:
            free = self._successor is None and not self.server.should_exit
            if free and channel.say(Word.LISTENING, self._listening.fileno()):
                self._successor = channel
            else:
                channel.say(Word.BUSY)
        elif channel is not self._successor:
            return
        elif word is Word.READY:
            self._release()
            self.server.yield_to(channel)
            channel.say(Word.YIELDED)
        elif word is Word.CONNECTION and descriptor is not None:
            await self.server.adopt(descriptor)
        elif word is Word.BACK:
            await self._resume()
        elif word is Word.DONE:
            self.server.stop()

    async def _resume(self) -> None:
        if not self.server.accepting and not self.server.should_exit:
            await self.server.accept()
            await asyncio.to_thread(self._announce)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
