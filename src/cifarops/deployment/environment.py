"""What each environment runs, by the ledger and by the servers themselves."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from urllib3.exceptions import HTTPError, NewConnectionError

from cifarops.bundle.code import read_record
from cifarops.errors import CifaropsError, UnavailableError
from cifarops.ledger.records import ENVIRONMENTS, Decision, EnvironmentName, EnvironmentState
from cifarops.ledger.store import Ledger
from cifarops.serving.client import Client

_ASK_SECONDS = 2.0


@dataclass(frozen=True)
class ServerStatus:
    """What one announced server says.

    Attributes:
        version: Version that answers there, or None where none is loaded or nobody answers.
        generation: Generation of the environment that it serves.
        wanted: Newest generation that it has seen.
        problem: Why it doesn't serve what it should; None when all is well.
        gone: Whether nobody answers at the URL.
        pid: Process id, or None where nobody answers.
        code: SHA-256 of the code release it runs from, or None.
        keep_images: Whether it keeps images.
        canary: Version that answers a share of the clients there, or None.
        shadow: Version that answers beside, to nobody, or None.
        beside_problem: Why a canary or shadow that should run there does not; None when all is well.
    """

    url: str
    version: int | None = None
    generation: int = 0
    wanted: int = 0
    problem: str | None = None
    gone: bool = False
    pid: int | None = None
    code: str | None = None
    keep_images: bool = False
    canary: int | None = None
    shadow: int | None = None
    beside_problem: str | None = None

    def described(self) -> str:
        """Return what runs there, in a few words."""
        if self.problem:
            return self.problem
        beside = [
            f"{role} {found}" for role, found in (("canary", self.canary), ("shadow", self.shadow)) if found
        ]
        return ", ".join([f"version {self.version}", *beside, *filter(None, [self.beside_problem])])


@dataclass(frozen=True)
class EnvironmentStatus:
    """An environment by the ledger, and its servers by their own word.

    Attributes:
        commit: What its code release was built from, or None where there is none or it is not in this workspace.
    """

    state: EnvironmentState
    servers: tuple[ServerStatus, ...]
    commit: str | None = None

    def row(self) -> tuple[Any, ...]:
        """Return the cells of a table: environment, version, bundle, code, since, previous, servers."""
        state = self.state
        if not state.generation:
            return (state.name, None, None, None, None, None, self._servers())
        return (
            state.name,
            self._versions(),
            _short(state.digest),
            f"{_short(state.code)} ({(self.commit or 'not here')[:12]})" if state.code else None,
            _moment(state.since),
            state.previous_version,
            self._servers(),
        )

    def _versions(self) -> str:
        canary, shadow = self.state.canary, self.state.shadow
        lines = [str(self.state.version)]
        lines += [f"canary {canary.version} ({canary.percent:g} %)"] if canary else []
        lines += [f"shadow {shadow.version}"] if shadow else []
        return "\n".join(lines)

    def _servers(self) -> str | None:
        lines = [f"{server.url}: {server.described()}" for server in self.servers]
        return "\n".join(lines) or None


def status(ledger: Ledger, releases: Path) -> list[EnvironmentStatus]:
    """Return the status of every environment; servers are really asked.

    Args:
        ledger: Where the environments are.
        releases: Directory of code releases.
    """
    found = []
    for name in ENVIRONMENTS:
        state = ledger.environment(name)
        record = read_record(releases / state.code) if state.code else None
        servers = tuple(ask(url, name) for url in ledger.servers(name))
        found.append(EnvironmentStatus(state, servers, record.commit if record else None))
    return found


def decision_row(decision: Decision) -> tuple[Any, ...]:
    """Return the cells of a table: position, time, kind, environment, version, actor, reason."""
    return (
        decision.seq,
        _moment(decision.at),
        decision.kind,
        decision.environment,
        decision.version,
        decision.actor,
        decision.reason,
    )


def ask(url: str, environment: EnvironmentName) -> ServerStatus:
    """Ask an announced server what it runs. Whatever else answers at its address means that it is gone."""
    try:
        running = Client(url, timeout=_ASK_SECONDS).version()
    except CifaropsError as error:
        return ServerStatus(url, problem=error.message, gone=not _hangs(error))
    if running.environment != environment:
        return ServerStatus(url, problem=f"A server of {running.environment} now.", gone=True)
    return ServerStatus(
        url,
        running.model_version,
        running.generation,
        running.wanted_generation,
        running.error,
        pid=running.pid,
        code=running.code_release,
        keep_images=running.keep_images,
        canary=running.canary_version,
        shadow=running.shadow_version,
        beside_problem=running.beside_error,
    )


def find_server(environment: EnvironmentName, *, ledger: Path) -> str:
    """Return the URL of a live server of an environment.

    Raises:
        UnavailableError: There is none.
    """
    if ledger.is_file():
        with Ledger(ledger) as opened:
            for url in reversed(opened.servers(environment)):
                if not ask(url, environment).gone:
                    return url
    raise UnavailableError(
        f"No server of {environment} is running in this workspace.",
        fix=f"Start one: cifarops serve --environment {environment}. For cifarops predict, --url names one elsewhere.",
    )


def _hangs(error: CifaropsError) -> bool:
    """Tell a server that was reached and gave no answer, which must not be forgotten, from one that is gone."""
    cause = error.__cause__
    return isinstance(cause, HTTPError) and not isinstance(getattr(cause, "reason", None), NewConnectionError)


def _short(digest: str | None) -> str | None:
    return digest[:12] if digest else None


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
