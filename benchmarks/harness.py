"""What every benchmark shares: the machine described, samples taken, one JSON document written."""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cifarops.files import write_atomic
from cifarops.machine import processor_name, usable_cores

ROOT = Path(__file__).resolve().parent.parent
_LIBRARIES = ("numpy", "pillow", "torch", "onnxruntime", "mlflow-skinny", "fastapi", "uvicorn")


@dataclass(frozen=True)
class Sample:
    """One measurement.

    Attributes:
        seconds: Wall-clock time.
        cpu_seconds: User and system time of this process and the children it waited for.
    """

    seconds: float
    cpu_seconds: float


def arguments(
    description: str, *, data: Path | None = None, minutes: float | None = None
) -> argparse.Namespace:
    """Read `--quick`, `--out FILE` and, where a default for it is given, `--data ARCHIVE` and `--minutes N`."""
    parser = argparse.ArgumentParser(description=description)
    if data is not None:
        parser.add_argument("--data", type=Path, default=data, help="archive of real images")
    if minutes is not None:
        parser.add_argument("--minutes", type=float, default=minutes, help="how long")
    parser.add_argument("--quick", action="store_true", help="fewer samples, smaller input")
    parser.add_argument("--out", type=Path, required=True, help="the JSON document to write")
    return parser.parse_args()


def sample(
    work: Callable[[], object], times: int, before: Callable[[], object] | None = None
) -> list[Sample]:
    """Measure `work` a number of times; `before` runs unmeasured ahead of each."""
    samples = []
    for _ in range(times):
        if before is not None:
            before()
        cpu, started = _cpu_seconds(), time.perf_counter()
        work()
        samples.append(Sample(time.perf_counter() - started, _cpu_seconds() - cpu))
    return samples


def summary(samples: Sequence[Sample], **facts: Any) -> dict[str, Any]:
    """Describe samples: facts about them, medians, and each one."""
    return {
        **facts,
        "median_seconds": statistics.median(s.seconds for s in samples),
        "median_cpu_seconds": statistics.median(s.cpu_seconds for s in samples),
        "samples": [asdict(s) for s in samples],
    }


def write(out: Path, name: str, **results: Any) -> None:
    """Write a benchmark's document: name, time, code, machine and results."""
    document = {
        "name": name,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python", "-m", f"benchmarks.{name}", *map(_without_folder, sys.argv[1:])]),
        "commit": _commit(),
        "machine": machine(),
        **results,
    }
    write_atomic(out, json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")


def machine() -> dict[str, Any]:
    """Describe this machine."""
    return {
        "processor": processor_name(),
        "cores": usable_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }


def _without_folder(argument: str) -> str:
    """Leave out where a file lies on this machine."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit, with `+changes` if the code differs from it."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
