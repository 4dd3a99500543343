"""Running a server: one process that answers for one environment."""

import asyncio
import errno
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from cifarops.errors import CifaropsError, UnavailableError, UsageError
from cifarops.ledger.records import EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.serving.app import create_app
from cifarops.serving.metrics import Metrics
from cifarops.serving.recorder import Recorder
from cifarops.serving.router import Router
from cifarops.serving.service import Service

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_KEEP_ALIVE_SECONDS = 75
_GRACE_SECONDS = 10


def serve(
    environment: EnvironmentName,
    *,
    host: str,
    port: int,
    ledger: Path,
    bundles: Path,
    keep_images: bool,
    announce: str | None = None,
    stop_with_stdin: bool = False,
) -> None:
    """Answer requests for an environment until SIGTERM or SIGINT; requests in flight are finished first.

    Args:
        environment: Which environment.
        host: A loopback address or name; any address with `announce`.
        port: TCP port; 0 takes a free one.
        ledger: The ledger's file; says which version to run, and takes predictions and feedback.
        bundles: Directory of bundles.
        keep_images: Whether the images themselves go to the ledger.
        announce: URL at which a deployment reaches this server, where that is not the address it listens on: in a
            container or a pod, which then decides who else does.
        stop_with_stdin: Also stop when standard input closes, that is when the parent process is gone.

    Raises:
        UsageError: `host` is not a loopback address and nothing is announced, or `announce` is no URL.
        UnavailableError: The port is taken or not allowed.
    """
    _check_reach(host, announce)
    listening = _bind(host, port)
    url = announce or _url(listening)
    code_version = version("cifarops")
    metrics = Metrics(environment, code_version)
    with (
        listening,
        Recorder(ledger, metrics=metrics) as recorder,
        ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="predict") as pool,
        Router(environment, ledger=ledger, bundles=bundles, metrics=metrics) as router,
    ):
        service = Service(environment, router, recorder, metrics, pool, keep_images, code_version)
        config = uvicorn.Config(
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
        server = _Server(
            config,
            on_started=lambda: _announce(ledger, environment, url),
            on_stopping=lambda: _retire(ledger, url),
        )
        if stop_with_stdin:
            threading.Thread(target=server.stop_with_stdin, name="stdin", daemon=True).start()
        # uvicorn stops gracefully, then raises the signal again: that second one must not end the process.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.stop)
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """uvicorn's server that says when it accepts connections and when it is about to stop."""

    def __init__(
        self, config: uvicorn.Config, *, on_started: Callable[[], None], on_stopping: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._on_stopping = on_stopping

    def stop(self, *_: object) -> None:
        """Stop gracefully, soon; may be called by a signal or another thread, any number of times."""
        self.should_exit = True

    def stop_with_stdin(self) -> None:
        """Wait until standard input closes, then stop gracefully."""
        while os.read(0, 1024):
            pass
        self.stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        await asyncio.to_thread(self._on_started)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self._on_stopping)
        await super().shutdown(sockets)


def _check_reach(host: str, announce: str | None) -> None:
    if announce is None and host not in _LOOPBACK:
        raise UsageError(
            f"Serving on {host} would let everyone on the network predict and label without a password.",
            fix="Use --host 127.0.0.1 and put a proxy that checks who asks in front of it. In a container, which"
            " decides itself who reaches it, name the address outside: --announce URL",
        )
    if announce is not None:
        parts = urlsplit(announce)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"{announce!r} is no address of a server.",
                fix="Give one like --announce http://127.0.0.1:8081",
            )


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        what = "is taken" if error.errno == errno.EADDRINUSE else f"can't be used ({error.strerror})"
        raise UnavailableError(
            f"Port {port} on {host} {what}.", fix="Choose another with --port, or --port 0 for any free one."
        ) from error
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
            opened.retire_server(url)
    except CifaropsError as error:
        _say(f"warning: the ledger still lists this server: {error.message}")


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
