"""Running a server: one process that answers for one environment."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import uvicorn

from cifarops.bundle.code import running_release
from cifarops.bundle.signature import Signatures
from cifarops.errors import CifaropsError
from cifarops.ledger.records import EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.serving.acceptor import Acceptor
from cifarops.serving.app import create_app
from cifarops.serving.channel import Channel, control_path, listen
from cifarops.serving.handover import Handover, receive_socket
from cifarops.serving.listening import bind, check_reach, url_of
from cifarops.serving.metrics import Metrics
from cifarops.serving.mirror import Mirror
from cifarops.serving.recorder import Recorder
from cifarops.serving.rehearsal import rehearse
from cifarops.serving.router import Router
from cifarops.serving.service import Service

_KEEP_ALIVE_SECONDS = 75
_GRACE_SECONDS = 10


@dataclass(frozen=True)
class TakeOver:
    """Which running server is replaced, instead of listening anew.

    Attributes:
        control: Its control socket.
        standby_s: Seconds that it stands by afterwards, to go on if this server dies.
    """

    control: Path
    standby_s: float = 0.0


def serve(
    environment: EnvironmentName,
    *,
    host: str,
    port: int,
    ledger: Path,
    bundles: Path,
    signatures: Signatures,
    run: Path,
    keep_images: bool,
    announce: str | None = None,
    stop_with_stdin: bool = False,
    take_over: TakeOver | None = None,
) -> None:
    """Answer requests for an environment until SIGTERM or SIGINT; requests in flight are finished first.

    A server that runs from a code release, or takes over from another one, rehearses before it answers.

    Args:
        environment: Which environment.
        host: A loopback address or name; any address with `announce`.
        port: TCP port; 0 takes a free one.
        ledger: The ledger's file; says which version to run, and takes predictions and feedback.
        bundles: Directory of bundles.
        signatures: What says which of them the environment may run.
        run: Directory of control sockets.
        keep_images: Whether the images themselves go to the ledger.
        announce: URL at which a deployment reaches this server, where that is not the address it listens on: in a
            container or a pod, which then decides who else does, and replaces it as a whole.
        stop_with_stdin: Also stop when standard input closes, that is when the parent process is gone.
        take_over: Whom to replace; `host` and `port` are then its.

    Raises:
        UsageError: `host` is not a loopback address and nothing is announced, or `announce` is no URL.
        UnavailableError: The port is taken or not allowed, or the rehearsal failed.
        ConflictError: Another process is taking over.
    """
    check_reach(host, announce)
    predecessor = Channel.connect(take_over.control) if take_over else None
    listening = receive_socket(predecessor) if predecessor else bind(host, port)
    url = announce or url_of(listening)
    code_version, code = version("cifarops"), running_release()
    metrics = Metrics(environment, code_version, code.sha256 if code else "")
    with (
        listening,
        Recorder(ledger, metrics=metrics) as recorder,
        Mirror(environment, recorder=recorder, metrics=metrics) as mirror,
        ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="predict") as pool,
        Router(
            environment,
            ledger=ledger,
            bundles=bundles,
            signatures=signatures,
            metrics=metrics,
            code=code.sha256 if code else None,
        ) as router,
        _control_socket(None if announce else control_path(run, environment, os.getpid())) as control,
    ):
        service = Service(
            environment, router, recorder, metrics, mirror, pool, keep_images, code_version, code
        )
        if code or predecessor:
            rehearse(service)
        handover = Handover(
            control,
            listening,
            predecessor=predecessor,
            standby_s=take_over.standby_s if take_over else 0.0,
            announce=lambda: _announce(ledger, environment, url),
            retire=lambda: _retire(ledger, url),
        )
        server = handover.server = Acceptor(
            _configuration(service), listening, on_started=handover.start, on_stopping=handover.stop
        )
        if stop_with_stdin:
            threading.Thread(target=_stop_with_stdin, args=(server,), name="stdin", daemon=True).start()
        # uvicorn stops gracefully, then raises the signal again: that second one must not end the process.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.stop)
        server.run()


def _configuration(service: Service) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(service),
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _stop_with_stdin(server: Acceptor) -> None:
    """Wait until standard input closes, then stop gracefully."""
    while os.read(0, 1024):
        pass
    server.stop()


@contextmanager
def _control_socket(path: Path | None) -> Iterator[socket.socket | None]:
    """Yield the socket where a successor connects, or None where none is due or the file system has no place for it."""
    if path is None:
        yield None
        return
    try:
        control = listen(path)
    except OSError as error:
        _say(f"warning: this server can't be replaced while it runs, only stopped: {path}: {error}")
        yield None
        return
    with control:
        try:
            yield control
        finally:
            path.unlink(missing_ok=True)


def _announce(ledger: Path, environment: EnvironmentName, url: str) -> None:
    try:
        with Ledger(ledger) as opened:
            opened.announce_server(environment, url, os.getpid())
    except CifaropsError as error:
        _say(f"warning: deploy status will not list this server: {error.message}")
    _say(f"serving {environment} on {url}")


def _retire(ledger: Path, url: str) -> None:
    try:
        with Ledger(ledger) as opened:
            opened.retire_server(url, os.getpid())
    except CifaropsError as error:
        _say(f"warning: the ledger still lists this server: {error.message}")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
