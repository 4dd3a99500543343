"""The server beside the one that a tutorial writes: time to ready, requests a second, latency, memory.

python -m benchmarks.serving [--quick] --out FILE
"""

import io
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import urllib3
from PIL import Image

from benchmarks.harness import ROOT, arguments, write
from benchmarks.load import LoadResult, load
from benchmarks.network import CLASSES, network_bundle
from cifarops.bundle.signature import Signatures
from cifarops.bundle.store import Bundle
from cifarops.deployment.process import ServerProcess
from cifarops.ledger.records import Decision
from cifarops.ledger.store import Ledger
from cifarops.serving.client import Client
from cifarops.settings import Settings

_CONNECTIONS = (1, 4)


@dataclass(frozen=True)
class Measured(LoadResult):
    """A stretch of load, with the processor time that the server spent on each request."""

    cpu_ms_per_request: float


def main() -> None:
    """Measure both servers in turn, so that a noisy moment hits both."""
    options = arguments("The server beside a plain FastAPI application")
    rounds, seconds, starts = (1, 1.0, 3) if options.quick else (5, 4.0, 9)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        bundle = promote(workspace)
        startup = [_seconds_to_ready(workspace) for _ in range(starts)]
        runs: dict[str, list[Measured]] = {"cifarops": [], "plain": []}
        bodies = images()
        with (
            _plain(bundle) as (plain_url, plain_pid),
            ServerProcess("production", workspace=workspace) as server,
        ):
            for _ in range(rounds):
                for connections in _CONNECTIONS:
                    for name, url, pid in (
                        ("cifarops", server.url, server.pid),
                        ("plain", plain_url, plain_pid),
                    ):
                        before = _cpu_seconds(pid)
                        result = load(f"{url}/predict", bodies, connections=connections, seconds=seconds)
                        spent = (_cpu_seconds(pid) - before) * 1000 / result.requests
                        runs[name].append(Measured(**asdict(result), cpu_ms_per_request=spent))
            memory = {"cifarops": _resident(server.pid), "plain": _resident(plain_pid)}
            with Ledger(Settings.from_environment({"CIFAROPS_WORKSPACE": folder}).ledger) as ledger:
                time.sleep(1)
                recorded = len(ledger.window("production", last=10_000_000))
    write(
        options.out,
        "serving",
        model="convolutions of 64, 128, 256 channels on 32×32, JPEG in, JSON out",
        startup={"median_seconds": statistics.median(startup), "target_seconds": 1.5, "samples": startup},
        load={name: [asdict(result) for result in results] for name, results in runs.items()},
        medians=_medians(runs),
        resident_bytes=memory,
        predictions={"answered": sum(result.requests for result in runs["cifarops"]), "recorded": recorded},
    )


def _medians(runs: dict[str, list[Measured]]) -> dict[str, Any]:
    medians: dict[str, Any] = {}
    for connections in _CONNECTIONS:
        of = {
            name: [result for result in results if result.connections == connections]
            for name, results in runs.items()
        }
        found = {
            name: {
                key: statistics.median(getattr(result, key) for result in results)
                for key in ("requests_per_second", "p50_ms", "p99_ms", "cpu_ms_per_request")
            }
            for name, results in of.items()
        }
        ratio = found["cifarops"]["requests_per_second"] / found["plain"]["requests_per_second"]
        medians[f"connections_{connections}"] = {**found, "ratio": ratio}
    return medians


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
    for _ in range(64):
        small = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        file = io.BytesIO()
        small.resize((32, 32), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def _seconds_to_ready(workspace: Path) -> float:
    begun = time.perf_counter()
    with ServerProcess("production", workspace=workspace) as server:
        client = Client(server.url)
        while not client.ready():
            time.sleep(0.005)
        return time.perf_counter() - begun


@contextmanager
def _plain(bundle: Bundle) -> Iterator[tuple[str, int]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    preprocessing = bundle.manifest.preprocessing
    environment = {
        **os.environ,
        "MODEL": str(bundle.model_path),
        "CLASSES": ",".join(CLASSES),
        "MEAN": ",".join(map(str, preprocessing.mean)),
        "STD": ",".join(map(str, preprocessing.std)),
    }
    command = [sys.executable, "-m", "uvicorn", "benchmarks.plain_serving:app", "--port", str(port)]
    quiet = ["--log-level", "warning", "--no-access-log"]
    process = subprocess.Popen([*command, *quiet], cwd=ROOT, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        retries = urllib3.Retry(total=40, backoff_factor=0.05, backoff_max=0.5)
        urllib3.PoolManager(retries=retries).request("GET", f"{url}/openapi.json")
        yield url, process.pid
    finally:
        process.terminate()
        process.wait()


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
