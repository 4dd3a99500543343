"""A server as a child process, for whoever needs one for a while: the demo, benchmarks, tests."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from cifarops.errors import UnavailableError
from cifarops.ledger.records import EnvironmentName

_LISTENING = re.compile(r"^serving \w+ on (http://\S+)$", re.MULTILINE)
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_LOG_TAIL = 800


class ServerProcess:
    """`cifarops serve` in a process of its own, as a context manager; it listens when the block begins.

    It ends with the block, and also when this process dies in any way: the server stops when its standard input closes.

    Args:
        environment: Which environment it serves.
        workspace: The workspace it works in; its output goes to `logs/` there.
        port: TCP port; 0 takes a free one.
        keep_images: Whether images go to the ledger.
    """

    def __init__(
        self, environment: EnvironmentName, *, workspace: Path, port: int = 0, keep_images: bool = False
    ) -> None:
        self.environment = environment
        self.log = workspace / "logs" / f"serve-{environment}-{time.time_ns()}.log"
        self.url = ""
        self._workspace = workspace
        self._arguments = ["--environment", environment, "--port", str(port), "--stop-with-stdin"]
        if keep_images:
            self._arguments.append("--keep-images")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running().pid

    def __enter__(self) -> "ServerProcess":
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cifarops.cli.main", "serve", *self._arguments],
                env={**os.environ, "CIFAROPS_WORKSPACE": str(self._workspace)},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C goes to us; we stop the server when the work is tidied up
            )
        try:
            self.url = self._await_url()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        """Stop gracefully, by force where that takes too long; returns the exit code."""
        process = self._running()
        process.terminate()
        try:
            return process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()
        finally:
            self.close_stdin()

    def close_stdin(self) -> None:
        """Close the server's standard input, which the end of this process would do; it then stops by itself."""
        stdin = self._running().stdin
        if stdin:
            stdin.close()

    def wait(self) -> int:
        """Wait until the server has ended by itself; returns the exit code."""
        return self._running().wait(_STOP_SECONDS)

    def _await_url(self) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            output = self.log.read_text(errors="replace")
            if found := _LISTENING.search(output):
                return found.group(1)
            if self._running().poll() is not None:
                raise UnavailableError(
                    f"The {self.environment} server ended with code {self._running().returncode}:"
                    f" {output[-_LOG_TAIL:].strip()}",
                    fix=f"The whole log: {self.log}",
                )
            time.sleep(0.02)
        raise UnavailableError(
            f"The {self.environment} server does not listen after {_START_SECONDS:.0f} s.",
            fix=f"Its log: {self.log}",
        )

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise UnavailableError(
                "The server was not started.", fix="Use it as a context manager: with ServerProcess(…)."
            )
        return self._process
