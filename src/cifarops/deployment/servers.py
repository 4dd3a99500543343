"""The server processes of an environment on this machine: started from a code release, replaced, stopped."""

import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cifarops.deployment.code import CodeRelease
from cifarops.deployment.environment import ServerStatus, ask
from cifarops.deployment.launch import await_url, last_words, launch
from cifarops.errors import CifaropsError, UnavailableError
from cifarops.ledger.records import EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.serving.channel import Channel, Word, control_path
from cifarops.settings import Settings

# A little more than a server takes to finish what it has begun.
_STOP_SECONDS = 20.0
_BACK_SECONDS = 10.0
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Started:
    """A server that this deployment has started.

    Attributes:
        url: Where it answers.
        process: Its process.
        log: Its output.
        predecessor: Process id of the server it replaced, or None.
        run: Directory of control sockets.
    """

    environment: EnvironmentName
    url: str
    process: subprocess.Popen[bytes]
    log: Path
    predecessor: int | None
    run: Path

    def death(self, patience_s: float = 0.0) -> str | None:
        """Return how it ended and its last words, or None if it lives on for `patience_s` seconds."""
        try:
            code = self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            return None
        return f"The new server at {self.url} ended with code {code}: {last_words(self.log)}"

    def take_back(self) -> bool:
        """Stop it, so that the predecessor answers again; returns whether there is one that does."""
        end(self.process)
        if self.predecessor is None or not _alive(self.run, self.environment, self.predecessor):
            return False
        deadline = time.monotonic() + _BACK_SECONDS
        while ask(self.url, self.environment).pid != self.predecessor:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_SECONDS)
        return True


def live_servers(environment: EnvironmentName, ledger: Ledger) -> list[ServerStatus]:
    """Return every announced server that answers; the ones that are gone are retired.

    Raises:
        UnavailableError: One takes connections and does not answer.
    """
    statuses = [ask(url, environment) for url in ledger.servers(environment)]
    for status in statuses:
        if status.gone:
            ledger.retire_server(status.url)
        elif status.pid is None:
            raise UnavailableError(
                f"The server at {status.url} hangs: {status.problem}",
                fix="End its process, then: cifarops deploy start",
            )
    return [status for status in statuses if not status.gone]


def start_server(
    environment: EnvironmentName,
    code: CodeRelease,
    *,
    settings: Settings,
    port: int,
    arguments: Sequence[str] = (),
) -> Started:
    """Start a server of a code release and wait until it answers.

    Raises:
        UnavailableError: It ended or never answered; its last words are in the message.
    """
    return _start(environment, code, settings, ["--port", str(port), *arguments], predecessor=None)


def replace_server(
    running: ServerStatus,
    environment: EnvironmentName,
    code: CodeRelease,
    *,
    settings: Settings,
    standby_s: float,
) -> Started:
    """Let a new process take over a running server's socket and connections; it keeps images if that one does.

    Args:
        running: Which server.
        environment: Whose it is.
        code: What the new process runs.
        settings: Of the workspace.
        standby_s: Seconds that the replaced process stands by.

    Raises:
        UnavailableError: The new process ended or never was ready, or the old one can't hand over; it goes on.
    """
    control = control_path(settings.run, environment, running.pid or 0)
    if not control.exists():
        raise UnavailableError(
            f"The server at {running.url} can't hand over its socket: it runs in a container or an older program.",
            fix="Replace its container; or stop it and run: cifarops deploy start --environment "
            + environment,
        )
    arguments = ["--take-over", str(control), "--standby", str(standby_s)]
    if running.keep_images:
        arguments.append("--keep-images")
    return _start(environment, code, settings, arguments, predecessor=running.pid)


def stop_server(running: ServerStatus, environment: EnvironmentName, *, run: Path) -> None:
    """Stop a server and whoever stands by for it; requests in flight are finished first.

    Raises:
        UnavailableError: It can't be reached, or does not end.
    """
    channel = Channel.connect(control_path(run, environment, running.pid or 0))
    try:
        channel.say(Word.STOP)
        if not channel.ended(_STOP_SECONDS):
            raise UnavailableError(
                f"The server at {running.url} has not ended after {_STOP_SECONDS:.0f} s.",
                fix=f"End it by force: kill -9 {running.pid}. Nothing is lost but what it has not answered.",
            )
    finally:
        channel.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that this one has started: gracefully, by force where that takes too long."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def port_of(url: str) -> int:
    """Return the port in a server's URL."""
    return urlsplit(url).port or 0


def _start(
    environment: EnvironmentName,
    code: CodeRelease,
    settings: Settings,
    arguments: list[str],
    *,
    predecessor: int | None,
) -> Started:
    process, log = launch(
        environment, arguments, workspace=settings.workspace, site=code.site, trusted=settings.trusted_keys
    )
    try:
        url = await_url(process, log, environment)
    except BaseException:
        end(process)
        raise
    return Started(environment, url, process, log, predecessor, settings.run)


def _alive(run: Path, environment: EnvironmentName, pid: int) -> bool:
    try:
        Channel.connect(control_path(run, environment, pid)).close()
    except CifaropsError:
        return False
    return True
