"""Waiting until every live server of an environment answers with what it should."""

import time
from dataclasses import dataclass

from cifarops.deployment.environment import ServerStatus, ask
from cifarops.ledger.records import EnvironmentState
from cifarops.ledger.store import Ledger

_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Settled:
    """How it ended.

    Attributes:
        servers: URLs of the servers that answer with the version.
        problem: Which server doesn't, and why; None when all do.
    """

    servers: tuple[str, ...]
    problem: str | None = None


def settle(state: EnvironmentState, ledger: Ledger, *, timeout_s: float) -> Settled:
    """Wait until every live server of an environment runs `state`; the ones that are gone are retired.

    Ends early when a server says that it can't.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        statuses = [ask(url, state.name) for url in ledger.servers(state.name)]
        for status in statuses:
            if status.gone:
                ledger.retire_server(status.url)
        live = [status for status in statuses if not status.gone]
        failed = [status for status in live if status.problem and status.wanted >= state.generation]
        if failed:
            return Settled((), f"{failed[0].url} says: {failed[0].problem}")
        behind = [status for status in live if status.generation < state.generation]
        if not behind:
            return Settled(tuple(status.url for status in live))
        if time.monotonic() > deadline:
            return Settled((), _late(behind[0], timeout_s))
        time.sleep(_PAUSE_SECONDS)


def _late(status: ServerStatus, timeout_s: float) -> str:
    return (
        f"{status.url} still answers with version {status.version} after {timeout_s:g} s."
        f"{' ' + status.problem if status.problem else ''}"
    )
