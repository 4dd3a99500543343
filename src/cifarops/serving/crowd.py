"""All connections of one server: how many there may be, and which have been too slow for too long."""

import asyncio
from collections import Counter
from typing import Protocol

from cifarops.serving.metrics import Metrics, Refusal
from cifarops.serving.options import Limits

_LOOK_SECONDS = 0.5


class Member(Protocol):
    """What the crowd knows of a connection.

    Attributes:
        overdue_at: Loop time from which it has been too slow.
    """

    overdue_at: float

    def expire(self) -> None:
        """End it."""


class Crowd:
    """Counts connections and ends the slow ones.

    One look at all of them twice a second is cheaper than a timer for every request.

    Args:
        limits: How many, and how slow.
        metrics: Where they are counted.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.limits = limits
        self._metrics = metrics
        self._members: set[Member] = set()
        self._of: Counter[str] = Counter()
        metrics.connections.set_function(lambda: len(self._members))

    def join(self, member: Member, address: str) -> bool:
        """Add a connection from an address; returns whether there is room for it."""
        if len(self._members) >= self.limits.connections or (
            self._of[address] >= self.limits.connections_per_address
        ):
            self.refused("connections")
            return False
        self._members.add(member)
        self._of[address] += 1
        return True

    def part(self, member: Member, address: str) -> None:
        """Forget a connection; one that found no room was never there."""
        if member not in self._members:
            return
        self._members.remove(member)
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]

    def refused(self, reason: Refusal) -> None:
        """Count a refusal."""
        self._metrics.refused(reason)

    async def watch(self) -> None:
        """End what is overdue, for as long as this runs."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = loop.time()
            for member in [member for member in self._members if member.overdue_at <= now]:
                member.expire()
