"""A server as a child process, for whoever needs one for a while: the demo, benchmarks, tests."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from cifarops.deployment.launch import await_url, launch
from cifarops.errors import UnavailableError
from cifarops.ledger.records import EnvironmentName

_STOP_SECONDS = 15.0


class ServerProcess:
    """`cifarops serve` in a process of its own, as a context manager; it listens when the block begins.

    It ends with the block, and also when this process dies in any way: the server stops when its standard input closes.

    Args:
        environment: Which environment it serves.
        workspace: The workspace it works in; its output goes to `logs/` there.
        port: TCP port; 0 takes a free one.
        keep_images: Whether images go to the ledger.
        arguments: Further arguments of `cifarops serve`.
    """

    def __init__(
        self,
        environment: EnvironmentName,
        *,
        workspace: Path,
        port: int = 0,
        keep_images: bool = False,
        arguments: Sequence[str] = (),
    ) -> None:
        self.environment = environment
        self.log = Path()
        self.url = ""
        self._workspace = workspace
        self._arguments = ["--port", str(port), "--stop-with-stdin", *arguments]
        if keep_images:
            self._arguments.append("--keep-images")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running().pid

    def __enter__(self) -> "ServerProcess":
        self._process, self.log = launch(
            self.environment, self._arguments, workspace=self._workspace, stdin=subprocess.PIPE
        )
        try:
            self.url = await_url(self._process, self.log, self.environment)
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

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise UnavailableError(
                "The server was not started.", fix="Use it as a context manager: with ServerProcess(…)."
            )
        return self._process
