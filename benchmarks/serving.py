"""The server beside those of others with the same ONNX file: ready, requests a second, latency, processor time, memory.

python -m benchmarks.serving [--quick] --out FILE

Each peer is installed into a virtual environment of its own, which is thrown away. That needs a package index.
"""

import io
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.harness import Sample, arguments, sample, write
from benchmarks.load import LoadResult, load
from benchmarks.network import CLASSES, DESCRIPTION, network_bundle
from benchmarks.peers.start import PEERS, RAW, Running, programs, started
from cifarops.bundle.runtime import OnnxModel, served_precision
from cifarops.bundle.signature import Signatures
from cifarops.bundle.store import Bundle
from cifarops.data.preprocess import decode
from cifarops.deployment.process import ServerProcess
from cifarops.ledger.records import Decision
from cifarops.ledger.store import Ledger
from cifarops.serving.client import Client
from cifarops.settings import Settings

OURS = "cifarops"
_CONNECTIONS = (1, 4, 8)
_HALF_LOAD_CONNECTIONS = 4
_FILES = 64


@dataclass(frozen=True)
class Measured(LoadResult):
    """A stretch of load, with the processor time that the server spent on each request."""

    cpu_ms_per_request: float


def main() -> None:
    """Measure all servers in turn, so that a noisy moment hits all of them."""
    options = arguments("The server beside those of others")
    rounds, seconds, starts = (1, 1.0, 1) if options.quick else (5, 4.0, 5)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = promote(folder / "workspace")
        bins = {peer: programs(PEERS[peer], folder / "environments" / peer) for peer in PEERS}
        servers = _Servers(folder, bundle, bins)
        ready: dict[str, list[float]] = {server: [] for server in (OURS, *PEERS)}
        for _ in range(starts):
            for server, times in ready.items():
                with servers.start(server) as running:
                    times.append(running.ready_s)
        raw = _raw(bundle, rounds)
        with ExitStack() as stack:
            all_running = {server: stack.enter_context(servers.start(server)) for server in ready}
            saturated = _saturate(all_running, rounds, seconds)
            half = _at_half_load(all_running, saturated, rounds, seconds)
            memory = {server: running.resident_bytes() for server, running in all_running.items()}
        recorded = _recorded(folder / "workspace", sum(r.requests for r in [*saturated[OURS], *half[OURS]]))
    write(
        options.out,
        "serving",
        model=f"{DESCRIPTION}, {served_precision(bundle)}; JPEG in, JSON out",
        peers={name: peer.packages for name, peer in PEERS.items()},
        raw_cpu_ms=[each.cpu_seconds * 1000 / _FILES for each in raw],
        ready={
            server: {"median_seconds": statistics.median(times), "samples": times}
            for server, times in ready.items()
        },
        saturated={server: [asdict(result) for result in results] for server, results in saturated.items()},
        half_load={server: [asdict(result) for result in results] for server, results in half.items()},
        resident_bytes=memory,
        predictions=recorded,
        summary=_summary(raw, ready, saturated, half, memory),
    )


class _Servers:
    """Starts any of the servers with the model."""

    def __init__(self, folder: Path, bundle: Bundle, bins: Mapping[str, Path]) -> None:
        self._folder = folder
        self._bins = bins
        precision = served_precision(bundle)
        preprocessing = bundle.manifest.preprocessing
        self._model = {
            "MODEL": str(bundle.int8_path if precision == "int8" else bundle.model_path),
            "CLASSES": ",".join(CLASSES),
            "MEAN": ",".join(map(str, preprocessing.mean)),
            "STD": ",".join(map(str, preprocessing.std)),
        }

    @contextmanager
    def start(self, name: str) -> Iterator[Running]:
        """Start a server and yield it when it has answered an image."""
        if name == OURS:
            begun = time.perf_counter()
            with ServerProcess("production", workspace=self._folder / "workspace") as server:
                Client(server.url).predict(images()[0])
                ready = time.perf_counter() - begun
                yield Running(f"{server.url}/predict", RAW, psutil.Process(server.pid), ready)
            return
        with (
            tempfile.TemporaryDirectory(dir=self._folder) as own,
            started(PEERS[name], self._bins[name], Path(own), self._model, images()[0]) as running,
        ):
            yield running


def _saturate(servers: Mapping[str, Running], rounds: int, seconds: float) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {name: [] for name in servers}
    for _ in range(rounds):
        for connections in _CONNECTIONS:
            for name, server in servers.items():
                found[name].append(_measure(server, connections, seconds))
    return found


def _at_half_load(
    servers: Mapping[str, Running], saturated: Mapping[str, Sequence[Measured]], rounds: int, seconds: float
) -> dict[str, list[Measured]]:
    """Ask each server half as often as it can answer at most."""
    found: dict[str, list[Measured]] = {name: [] for name in servers}
    for _ in range(rounds):
        for name, server in servers.items():
            rate = _most(saturated[name]) / 2
            found[name].append(_measure(server, _HALF_LOAD_CONNECTIONS, seconds, rate=rate))
    return found


def _measure(server: Running, connections: int, seconds: float, rate: float | None = None) -> Measured:
    bodies = [server.request.wrap(image) for image in images()]
    before = server.cpu_seconds()
    result = load(
        server.url, bodies, connections=connections, seconds=seconds, kind=server.request.kind, rate=rate
    )
    spent = (server.cpu_seconds() - before) * 1000 / result.requests
    return Measured(**asdict(result), cpu_ms_per_request=spent)


def _raw(bundle: Bundle, rounds: int) -> list[Sample]:
    """Decode and answer each file, one after the other, in this process."""
    model, files = OnnxModel(bundle), images()
    size = bundle.manifest.preprocessing.size

    def work() -> None:
        for content in files:
            model.probabilities(decode(content, size).pixels[None])

    work()
    return sample(work, 5 * rounds)


def _most(results: Sequence[LoadResult]) -> float:
    """Return the median requests a second of the number of connections that answers most."""
    by_connections: dict[int, list[float]] = {}
    for result in results:
        by_connections.setdefault(result.connections, []).append(result.requests_per_second)
    return max(map(statistics.median, by_connections.values()))


def _summary(
    raw: Sequence[Sample],
    ready: Mapping[str, Sequence[float]],
    saturated: Mapping[str, Sequence[Measured]],
    half: Mapping[str, Sequence[Measured]],
    memory: Mapping[str, int],
) -> dict[str, Any]:
    raw_ms = statistics.median(each.cpu_seconds for each in raw) * 1000 / _FILES
    most = {name: _most(results) for name, results in saturated.items()}
    best_peer = max(rate for name, rate in most.items() if name not in (OURS, "plain"))
    cpu = {
        name: statistics.median(r.cpu_ms_per_request for r in results if r.connections == 4)
        for name, results in saturated.items()
    }
    p99 = {name: statistics.median(result.p99_ms for result in results) for name, results in half.items()}
    return {
        "requests_per_second": most,
        "cpu_ms_per_request": cpu,
        "p50_ms_half_load": {
            name: statistics.median(r.p50_ms for r in results) for name, results in half.items()
        },
        "p99_ms_half_load": p99,
        "targets": {
            "cpu_of_raw": {"measured": cpu[OURS] / raw_ms, "target": 1.25},
            "times_plain": {"measured": most[OURS] / most["plain"], "target": 1.3},
            "times_best_peer": {"measured": most[OURS] / best_peer, "target": 2.5},
            "p99_ms_half_load": {"measured": p99[OURS], "target": 10},
            "ready_seconds": {"measured": statistics.median(ready[OURS]), "target": 1.0},
            "resident_megabytes": {"measured": memory[OURS] / 1e6, "target": 250},
        },
    }


def _recorded(workspace: Path, answered: int) -> dict[str, int]:
    ledger = Settings.from_environment({"CIFAROPS_WORKSPACE": str(workspace)}).ledger
    with Ledger(ledger) as opened:
        return {"answered": answered, "recorded": len(opened.window("production", last=10_000_000))}


def promote(workspace: Path) -> Bundle:
    """Let production in a new workspace run the model that is measured."""
    settings = Settings.from_environment({"CIFAROPS_WORKSPACE": str(workspace)})
    bundle = network_bundle(settings.bundles)
    Signatures.of(settings).sign(bundle.digest, "production")
    with Ledger(settings.ledger) as ledger:
        seen = ledger.environment("production")
        decision = Decision("promote", "production", 1, "benchmark", "to be measured")
        ledger.swap(seen, replace(seen, version=1, digest=bundle.digest), decision)
    return bundle


def images() -> list[bytes]:
    """Return small JPEG files."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(_FILES):
        small = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        file = io.BytesIO()
        small.resize((32, 32), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


if __name__ == "__main__":
    main()
