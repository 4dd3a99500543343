"""Whose turn it is when more ask than can be answered at once.

Every client has a line of its own, and the lines are served in turn: a flood waits behind itself. A burst may wait; but
once the queue has been full, the server counts as overloaded until a calm second has passed, and lets only a few
wait, so that the wait here stays short. The others are told to come back later before their body is read
(the idea of "controlled delay": Maurer, "Fail at Scale", ACM Queue 13(8), 2015; taking from the longest line: Suter et
al., "Buffer management schemes for supporting TCP in gigabit routers with per-flow queueing", IEEE JSAC 17(6), 1999).
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from cifarops.serving.caller import Caller
from cifarops.serving.metrics import Metrics
from cifarops.serving.problems import ProblemError

# How many may wait for each place at work: in a burst, and while the server is overloaded.
BURST = 64
PATIENCE = 4
CALM_SECONDS = 1.0
# Weight of the newest sample in the mean time of one piece of work.
_NEWEST = 0.05
_T = TypeVar("_T")


class _Waiter:
    __slots__ = ("caller", "since", "turn")

    def __init__(self, caller: Caller, turn: "asyncio.Future[None]", since: float) -> None:
        self.caller = caller
        self.turn = turn
        self.since = since

    def end(self, problem: ProblemError) -> None:
        if not self.turn.done():
            self.turn.set_exception(problem)


class Queue:
    """Lets a bounded number of requests work at once, and a bounded number wait. Used on one event loop.

    Args:
        slots: How many work at once.
        metrics: Where waits and refusals are counted.
    """

    def __init__(self, slots: int, metrics: Metrics) -> None:
        self._slots = slots
        self._metrics = metrics
        self._busy = 0
        self._waiting = 0
        self._lines: dict[str, deque[_Waiter]] = {}
        self._work_s = 0.0
        self._refused_at = -math.inf
        self._overloaded = False
        metrics.queue_length.set_function(lambda: self._waiting)
        metrics.overloaded.set_function(lambda: self._overloaded)

    def check(self, caller: Caller) -> None:
        """Refuse a request for which there is no room, before anything of it is read.

        Raises:
            ProblemError: The queue is full (503), or this client's share of it is (429).
        """
        now = asyncio.get_running_loop().time()
        if self._overloaded and not self._waiting and now - self._refused_at > CALM_SECONDS:
            self._overloaded = False
        if self._is_full() and not self._lighter(caller.client):
            self._overloaded = True
            self._refused_at = now
            raise self._full(caller.client)

    async def run(self, caller: Caller, begin: Callable[[], Awaitable[_T]]) -> _T:
        """Do a piece of work when it is the client's turn.

        Args:
            caller: Whose turn to wait for, and how long.
            begin: Starts the work. What was started goes on to its end, and keeps its place until then, whoever waits.

        Raises:
            ProblemError: There is no room (429, 503), the time is up (504), or the client has left (499).
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + caller.timeout_s
        if caller.gone:
            raise _left()
        if self._busy < self._slots:
            self._busy += 1
            self._metrics.queue_seconds.observe(0)
        else:
            await self._turn(caller, deadline)
        began = loop.time()
        try:
            work = asyncio.ensure_future(begin())
        except BaseException:
            self._give_back()
            raise
        work.add_done_callback(lambda done: self._done(done, loop.time() - began))
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(work)
        except TimeoutError:
            raise self._late(caller) from None

    async def _turn(self, caller: Caller, deadline: float) -> None:
        """Wait in line; when this returns, one of the places at work is taken."""
        self.check(caller)
        if self._wait_s(caller.client) > caller.timeout_s:
            raise self._full(caller.client)
        if self._is_full():
            self._shorten_longest()
        loop = asyncio.get_running_loop()
        waiter = _Waiter(caller, loop.create_future(), loop.time())
        self._lines.setdefault(caller.client, deque()).append(waiter)
        self._waiting += 1
        expiry = loop.call_at(deadline, lambda: waiter.end(self._late(caller)))
        caller.on_gone = lambda: waiter.end(_left())
        try:
            await waiter.turn
        except BaseException:
            self._forget(waiter)
            raise
        finally:
            expiry.cancel()
            caller.on_gone = None
        self._metrics.queue_seconds.observe(loop.time() - waiter.since)

    def _done(self, work: "asyncio.Future[Any]", seconds: float) -> None:
        if not work.cancelled():
            work.exception()  # whoever asked may be gone, and then nobody else looks at it
        self._work_s = seconds if not self._work_s else self._work_s + _NEWEST * (seconds - self._work_s)
        self._give_back()

    def _give_back(self) -> None:
        """Free a place at work, for whoever is next."""
        self._busy -= 1
        while self._busy < self._slots and self._waiting:
            self._grant()

    def _grant(self) -> None:
        """Give a place to the first of the line whose turn it is, and send that line to the end."""
        client, line = next(iter(self._lines.items()))
        waiter = line.popleft()
        self._waiting -= 1
        del self._lines[client]
        if line:
            self._lines[client] = line
        if not waiter.turn.done():
            self._busy += 1
            waiter.turn.set_result(None)

    def _forget(self, waiter: _Waiter) -> None:
        """Take out one who waits no more; whoever had the turn already and can't use it gives it back."""
        if waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
            self._give_back()
            return
        line = self._lines.get(waiter.caller.client)
        if line is not None and waiter in line:
            line.remove(waiter)
            self._waiting -= 1
            if not line:
                del self._lines[waiter.caller.client]

    def _is_full(self) -> bool:
        return self._waiting >= self._slots * (PATIENCE if self._overloaded else BURST)

    def _lighter(self, client: str) -> bool:
        """Whether someone else has at least two more waiting: one of those can make room."""
        own = len(self._lines.get(client, ()))
        return any(len(line) > own + 1 for line in self._lines.values())

    def _shorten_longest(self) -> None:
        line = max(self._lines.values(), key=len)
        self._overloaded = True
        self._refused_at = asyncio.get_running_loop().time()
        waiter = line.pop()
        self._waiting -= 1
        waiter.end(self._too_many())

    def _wait_s(self, client: str) -> float:
        """Estimate how long the next request of a client would wait."""
        ahead = min(self._waiting, (len(self._lines.get(client, ())) + 1) * max(1, len(self._lines)))
        return ahead * self._work_s / self._slots

    def _full(self, client: str) -> ProblemError:
        own = len(self._lines.get(client, ()))
        if len(self._lines) > 1 and own * len(self._lines) > self._waiting:
            return self._too_many()
        self._metrics.refused("queue")
        return ProblemError(
            "overloaded", "The server has more to do than it can. Ask again later.", headers=self._retry()
        )

    def _too_many(self) -> ProblemError:
        self._metrics.refused("share")
        return ProblemError(
            "too-many-requests",
            "The server is busy, and you have more requests waiting than others. Send fewer at once.",
            headers=self._retry(),
        )

    def _retry(self) -> dict[str, str]:
        return {"Retry-After": str(max(1, math.ceil(self._waiting * self._work_s / self._slots)))}

    def _late(self, caller: Caller) -> ProblemError:
        self._metrics.refused("deadline")
        return ProblemError(
            "deadline-exceeded", f"There was no answer within {caller.timeout_s:g} s. Ask again later."
        )


def _left() -> ProblemError:
    return ProblemError("client-gone", "The client closed the connection before it was its turn.")
