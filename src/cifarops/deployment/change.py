"""Carrying out a change of what an environment's servers run: all of it, or nothing.

The ledger is changed first, by compare-and-swap; servers follow, each replaced by a process that was ready before; then
they are watched. Whatever fails on the way, what ran before runs again and the ledger says so. A deployment that is
killed in the middle leaves servers that answer: `start` brings them in line with the ledger.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

from cifarops.deployment.code import CodeRelease, open_code
from cifarops.deployment.health import Health, watch_health
from cifarops.deployment.servers import Started, live_servers, port_of, replace_server, start_server
from cifarops.deployment.settle import settle
from cifarops.errors import CifaropsError, UnavailableError
from cifarops.ledger.records import Decision, EnvironmentState
from cifarops.ledger.store import Ledger
from cifarops.settings import Settings

_SETTLE_SECONDS = 10.0
# How much longer than the watch a replaced server stands by: time to see the last look and act on it.
_STANDBY_MARGIN_SECONDS = 15.0
_HISTORY = 1000


@dataclass(frozen=True)
class Change:
    """What is to become of an environment.

    Attributes:
        seen: What it runs.
        wanted: What it shall run; equal to `seen` where the ledger says so already.
        code: The code release in `wanted`.
        decision: Who wants it, and why.
        port: Where a server is started if none runs; None takes the last one's port, or any free one.
        watch_s: Seconds that the servers are watched.
    """

    seen: EnvironmentState
    wanted: EnvironmentState
    code: CodeRelease
    decision: Decision
    port: int | None
    watch_s: float


@dataclass(frozen=True)
class Deployed:
    """What a change led to.

    Attributes:
        state: What the environment runs now.
        servers: URLs of the live servers, each of which runs it.
        health: What the watch saw, or None where nothing had to be done.
        warning: Why the registry's aliases were not brought in line; None when all is well.
    """

    state: EnvironmentState
    servers: tuple[str, ...]
    health: Health | None = None
    warning: str | None = None


def carry_out(change: Change, *, ledger: Ledger, settings: Settings) -> Deployed:
    """Change an environment and its servers, watch them, and go back where that fails.

    Raises:
        ConflictError: Someone else changed the environment meanwhile.
        UnavailableError: The new servers never were ready, died or were unhealthy; what ran before runs again.
    """
    state = change.seen
    if change.wanted != change.seen:
        state = ledger.swap(change.seen, change.wanted, change.decision)
    started: list[Started] = []
    standby_s = change.watch_s + _STANDBY_MARGIN_SECONDS if change.watch_s else 0.0
    try:
        servers = bring_up(
            state,
            change.code,
            ledger=ledger,
            settings=settings,
            port=change.port,
            standby_s=standby_s,
            started=started,
        )
        health = watch_health(servers, state, started, seconds=change.watch_s)
        if health.problem:
            raise UnavailableError(health.problem, fix=f"The servers' logs: {settings.logs}")
    except CifaropsError as error:
        death = next(filter(None, (each.death() for each in started)), None)
        raise _gone_back(change, state, started, death or error.message, ledger, settings) from error
    except BaseException:
        _gone_back(change, state, started, "interrupted", ledger, settings)
        raise
    evidence = {**_identity(state), "servers": list(servers), "health": asdict(health)}
    reason = f"Healthy for {health.seconds:g} s, {health.requests} requests."
    ledger.record(Decision("kept", state.name, state.version, change.decision.actor, reason, evidence))
    return Deployed(state, servers, health)


def bring_up(
    state: EnvironmentState,
    code: CodeRelease,
    *,
    ledger: Ledger,
    settings: Settings,
    port: int | None,
    standby_s: float,
    started: list[Started],
) -> tuple[str, ...]:
    """Let every server of an environment run `state`; start one where there is none. Returns their URLs.

    Args:
        state: What they shall run.
        code: Its code release.
        ledger: Where they are announced.
        settings: Of the workspace.
        port: As in `Change`.
        standby_s: Seconds that replaced servers stand by.
        started: Takes every server that was started, also when a later one fails.

    Raises:
        UnavailableError: One can't.
    """
    chosen = _last_port(state, ledger) if port is None else port
    live = live_servers(state.name, ledger)
    for running in live:
        if running.code != code.sha256:
            started.append(replace_server(running, state.name, code, settings=settings, standby_s=standby_s))
    if not live:
        started.append(start_server(state.name, code, settings=settings, port=chosen))
    settled = settle(state, ledger, timeout_s=_SETTLE_SECONDS)
    if settled.problem:
        raise UnavailableError(settled.problem, fix=f"The servers' logs: {settings.logs}")
    return settled.servers


def _gone_back(
    change: Change,
    state: EnvironmentState,
    started: list[Started],
    problem: str,
    ledger: Ledger,
    settings: Settings,
) -> CifaropsError:
    """Let what ran before run again, requests first; returns the error to raise."""
    seen, what = change.seen, f"version {state.version} with code {change.code.sha256[:12]}"
    orphaned = [each for each in reversed(started) if not each.take_back() and each.predecessor is not None]
    try:
        if state is not seen:
            evidence = {**_identity(state), "problem": problem, "runs_again": _identity(seen)}
            decision = Decision(
                "not_taken_up",
                state.name,
                state.version,
                change.decision.actor,
                f"{what} was not taken up",
                evidence,
            )
            state = ledger.swap(state, replace(seen), decision)
        again = _restart(seen, orphaned, settings)
        settle(state, ledger, timeout_s=_SETTLE_SECONDS)
    except CifaropsError as error:
        return UnavailableError(
            f"{what} was not taken up: {problem} Going back failed too: {error.message}", fix=error.fix
        )
    return UnavailableError(
        f"{what} was not taken up by {seen.name}: {problem} {again}",
        fix=f"Look with: cifarops deploy status. The servers' logs: {settings.logs}",
    )


def _restart(seen: EnvironmentState, orphaned: list[Started], settings: Settings) -> str:
    """Start the old code again where the server that stood by is gone; returns what runs now, as a sentence."""
    if seen.code is not None and orphaned:
        code = open_code(settings.releases / seen.code)
        for each in orphaned:
            start_server(seen.name, code, settings=settings, port=port_of(each.url))
    elif orphaned:
        return f"The server that ran before is gone: cifarops serve --environment {seen.name} starts one."
    return f"{seen.name} runs {_described(seen)} again."


def _described(state: EnvironmentState) -> str:
    if state.version is None:
        return "nothing, as before,"
    return f"version {state.version}" + (f" with code {state.code[:12]}" if state.code else "")


def _identity(state: EnvironmentState) -> dict[str, Any]:
    return {"version": state.version, "digest": state.digest, "code": state.code}


def _last_port(state: EnvironmentState, ledger: Ledger) -> int:
    """Return the port of the server that was announced or recorded last, or 0."""
    if announced := ledger.servers(state.name):
        return port_of(announced[-1])
    for decision in reversed(ledger.decisions(environment=state.name, last=_HISTORY)):
        if servers := decision.evidence.get("servers"):
            return port_of(servers[-1])
    return 0
