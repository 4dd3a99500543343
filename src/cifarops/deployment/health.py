"""Watching servers for a while after a change: alive, ready, the right code, few errors."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cifarops.deployment.environment import ask
from cifarops.deployment.servers import Started
from cifarops.errors import CifaropsError
from cifarops.ledger.records import EnvironmentState
from cifarops.serving.client import Client, Counts

_PAUSE_SECONDS = 0.2
# One slow look on a busy machine is no failure; three in a row are.
_MISSES = 3
_DYING_SECONDS = 2.0
_MIN_ERRORS = 5
_MAX_ERROR_RATE = 0.02


@dataclass(frozen=True)
class Health:
    """What the watch saw.

    Attributes:
        seconds: How long it lasted.
        requests: Requests answered meanwhile.
        errors: Those with a status from 500 on.
        problem: Why the servers are unhealthy; None when all is well.
    """

    seconds: float
    requests: int = 0
    errors: int = 0
    problem: str | None = None


class _Watched:
    """One server under watch."""

    def __init__(self, url: str, state: EnvironmentState, started: Started | None) -> None:
        self._url = url
        self._state = state
        self._started = started
        self._client = Client(url, timeout=2)
        self._misses = 0
        self._begin = Counts(0, 0) if started else self._client.counts()
        self.seen = self._begin

    def problem(self) -> str | None:
        """Look once; returns what is wrong."""
        status = ask(self._url, self._state.name)
        foreign = status.pid is not None and self._state.code not in (None, status.code)
        # A process lets go of its sockets a moment before it has ended, and then the one that stood by answers.
        if self._started and (death := self._started.death(_DYING_SECONDS if foreign else 0.0)):
            return death
        if foreign:
            return f"{self._url} is answered by other code than {str(self._state.code)[:12]}."
        try:
            ready = status.pid is not None and self._client.ready()
            if ready:
                self.seen = self._client.counts()
        except CifaropsError:
            ready = False
        self._misses = 0 if ready else self._misses + 1
        if self._misses >= _MISSES:
            return f"{self._url} is not ready{f': {status.problem}' if status.problem else '.'}"
        if self.errors >= _MIN_ERRORS and self.errors > _MAX_ERROR_RATE * self.requests:
            return f"{self._url} answered {self.errors} of {self.requests} requests with a server error."
        return None

    @property
    def requests(self) -> int:
        return self.seen.requests - self._begin.requests

    @property
    def errors(self) -> int:
        return self.seen.errors - self._begin.errors


def watch_health(
    urls: Sequence[str], state: EnvironmentState, started: Sequence[Started], *, seconds: float
) -> Health:
    """Watch the servers of an environment, and end early when one is unhealthy.

    Args:
        urls: Where they answer.
        state: What they should run.
        started: Those among them that were started just now: each must stay alive.
        seconds: How long; every server is looked at once in any case.

    Raises:
        UnavailableError: One does not answer at the beginning.
    """
    fresh = {each.url: each for each in started}
    watched = [_Watched(url, state, fresh.get(url)) for url in urls]
    began = time.monotonic()
    while True:
        problem = next(filter(None, (each.problem() for each in watched)), None)
        past = time.monotonic() - began
        if problem or past >= seconds:
            requests, errors = sum(each.requests for each in watched), sum(each.errors for each in watched)
            return Health(round(past, 2), requests, errors, problem)
        time.sleep(_PAUSE_SECONDS)
