"""Code replaced under load: what clients notice, beside the same load with nothing replaced.

python -m benchmarks.handover [--quick] --out FILE
"""

import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.harness import arguments, write
from benchmarks.load import LoadResult, load
from benchmarks.serving import images, promote
from cifarops.deployment.launch import await_url, launch
from cifarops.deployment.process import ServerProcess
from cifarops.deployment.servers import end
from cifarops.serving.channel import control_path

_CONNECTIONS = 4


def main() -> None:
    """Load one server in turns, with handovers and without, on kept and on fresh connections."""
    options = arguments("Code replaced under load")
    rounds, seconds = (1, 4.0) if options.quick else (5, 10.0)
    bodies = images()
    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        promote(workspace)
        with ServerProcess("production", workspace=workspace) as server, _Line(server, workspace) as line:
            for _ in range(rounds):
                for fresh in (False, True):
                    for replacing in (False, True):
                        with line.replacing() if replacing else _nothing() as done:
                            measured = load(
                                f"{server.url}/predict",
                                bodies,
                                connections=_CONNECTIONS,
                                seconds=seconds,
                                fresh=fresh,
                            )
                        name = f"{'fresh' if fresh else 'kept'}_{'handovers' if replacing else 'quiet'}"
                        results.setdefault(name, []).append(_described(measured, done))
    write(
        options.out,
        "handover",
        what="handovers one after the other, at once; failed must be 0",
        medians={name: _medians(samples) for name, samples in results.items()},
        samples=results,
    )


class _Line:
    """One server after the other on one socket; the last one ends with the block."""

    def __init__(self, first: ServerProcess, workspace: Path) -> None:
        self._workspace = workspace
        self._pid = first.pid
        self._last: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "_Line":
        return self

    def __exit__(self, *_: object) -> None:
        if self._last is not None:
            end(self._last)

    @contextmanager
    def replacing(self) -> Iterator[list[float]]:
        """Replace the server again and again while the block runs; yields how many seconds each took."""
        taken: list[float] = []
        stop = threading.Event()

        def replace() -> None:
            while not stop.is_set():
                begun = time.perf_counter()
                self._replace()
                taken.append(time.perf_counter() - begun)

        thread = threading.Thread(target=replace)
        thread.start()
        try:
            yield taken
        finally:
            stop.set()
            thread.join()

    def _replace(self) -> None:
        control = control_path(self._workspace / "run", "production", self._pid)
        arguments = ["--take-over", str(control), "--standby", "0"]
        process, log = launch("production", arguments, workspace=self._workspace)
        await_url(process, log, "production")
        if self._last is not None:
            self._last.wait()
        self._pid, self._last = process.pid, process


@contextmanager
def _nothing() -> Iterator[list[float]]:
    yield []


def _described(measured: LoadResult, taken: list[float]) -> dict[str, Any]:
    return {**asdict(measured), "handovers": len(taken), "handover_seconds": taken}


def _medians(samples: list[dict[str, Any]]) -> dict[str, float]:
    medians = {
        key: statistics.median(sample[key] for sample in samples)
        for key in ("requests_per_second", "p50_ms", "p99_ms", "max_ms")
    }
    totals = {key: sum(sample[key] for sample in samples) for key in ("requests", "failed", "handovers")}
    return {**medians, **totals}


if __name__ == "__main__":
    main()
