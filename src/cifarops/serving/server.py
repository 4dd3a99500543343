"""Running a server: one process that answers for one environment."""

import logging
import math
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import uvicorn
from starlette.middleware.cors import CORSMiddleware

from cifarops.bundle.code import running_release
from cifarops.bundle.signature import Signatures
from cifarops.errors import CifaropsError
from cifarops.ledger.records import EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.machine import usable_cores
from cifarops.serving.acceptor import Acceptor
from cifarops.serving.app import create_app
from cifarops.serving.channel import Channel, control_path, listen
from cifarops.serving.crowd import Crowd
from cifarops.serving.guard import Guard, paths_of
from cifarops.serving.handover import Handover, receive_socket
from cifarops.serving.journal import Journal, JournalHandler
from cifarops.serving.listening import bind, check_reach, load_certificate, url_of
from cifarops.serving.metrics import Metrics
from cifarops.serving.mirror import Mirror
from cifarops.serving.options import Options
from cifarops.serving.queue import Queue
from cifarops.serving.recorder import Recorder
from cifarops.serving.rehearsal import rehearse
from cifarops.serving.router import Router
from cifarops.serving.service import Service
from cifarops.serving.tokens import Keyring, TokenFile

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
    options: Options,
    tokens: TokenFile,
    announce: str | None = None,
    stop_with_stdin: bool = False,
    take_over: TakeOver | None = None,
) -> None:
    """Answer requests for an environment until SIGTERM or SIGINT; requests in flight are finished first.

    A server that runs from a code release, or takes over from another one, rehearses before it answers.

    Args:
        environment: Which environment.
        host: A loopback address or name; any address where there are tokens, or with `announce`.
        port: TCP port; 0 takes a free one.
        ledger: The ledger's file; says which version to run, and takes predictions and feedback.
        bundles: Directory of bundles.
        signatures: What says which of them the environment may run.
        run: Directory of control sockets.
        keep_images: Whether the images themselves go to the ledger.
        options: What `serving.yaml` says.
        tokens: Who may do what.
        announce: URL at which a deployment reaches this server, where that is not the address it listens on: in a
            container or a pod, which then decides who else does, and replaces it as a whole.
        stop_with_stdin: Also stop when standard input closes, that is when the parent process is gone.
        take_over: Whom to replace; `host` and `port` are then its.

    Raises:
        UsageError: `host` is not a loopback address and there are neither tokens nor anything announced, `announce` is
            no URL, or the certificate can't be used.
        IntegrityError: The tokens can't be read.
        UnavailableError: The port is taken or not allowed, or the rehearsal failed.
        ConflictError: Another process is taking over.
    """
    check_reach(host, announce, guarded=bool(tokens.tokens()))
    tls = load_certificate(options.tls) if options.tls else None
    predecessor = Channel.connect(take_over.control) if take_over else None
    listening = receive_socket(predecessor) if predecessor else bind(host, port)
    url = announce or url_of(listening, secure=tls is not None)
    code_version, code = version("cifarops"), running_release()
    metrics = Metrics(environment, code_version, code.sha256 if code else "")
    workers = usable_cores()
    with (
        listening,
        Journal(sys.stderr, metrics) as journal,
        Recorder(ledger, metrics=metrics) as recorder,
        Mirror(environment, recorder=recorder, metrics=metrics) as mirror,
        ThreadPoolExecutor(workers, thread_name_prefix="predict") as pool,
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
        queue = Queue(2 * workers, metrics)
        service = Service(
            environment=environment,
            router=router,
            recorder=recorder,
            metrics=metrics,
            mirror=mirror,
            pool=pool,
            queue=queue,
            bodies_bytes=options.limits.bodies_bytes,
            keep_images=keep_images,
            code_version=code_version,
            code=code,
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
        app = create_app(service)
        guard = Guard(
            app,
            options=options,
            any_host=announce is not None and not options.hosts,
            routes=paths_of(app),
            keyring=Keyring(tokens),
            queue=queue,
            metrics=metrics,
            journal=journal,
        )
        server = handover.server = Acceptor(
            _configuration(guard, options, tls),
            listening,
            crowd=Crowd(options.limits, metrics),
            drain=guard.drain,
            drain_s=options.drain_s,
            on_started=handover.start,
            on_stopping=handover.stop,
        )
        logging.basicConfig(level=logging.WARNING, handlers=[JournalHandler(journal)], force=True)
        if stop_with_stdin:
            threading.Thread(target=_stop_with_stdin, args=(server,), name="stdin", daemon=True).start()
        # uvicorn stops gracefully, then raises the signal again: that second one must not end the process.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.stop)
        server.run()


def _configuration(guard: Guard, options: Options, tls: ssl.SSLContext | None) -> uvicorn.Config:
    # Pages that may ask must also be told that they may read the answer.
    app = (
        CORSMiddleware(guard, options.origins, allow_methods=("GET", "POST"), allow_headers=("*",))
        if options.origins
        else guard
    )
    configuration = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(options.proxies),
        forwarded_allow_ips=list(options.proxies),
        timeout_keep_alive=math.ceil(options.limits.idle_s),
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    configuration.load()
    configuration.ssl = tls
    return configuration


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
