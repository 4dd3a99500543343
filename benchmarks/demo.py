"""The demo as a whole: time, peak memory of all its processes, requests that failed.

python -m benchmarks.demo [--quick] --out FILE
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness import ROOT, arguments, write

_INTERVAL = 0.2


def main() -> None:
    """Play the demo three times (once with `--quick`) and write what was seen."""
    options = arguments("The demo as a whole")
    samples = [_play() for _ in range(1 if options.quick else 3)]
    write(
        options.out,
        "demo",
        synthetic=True,
        targets={"seconds": 120, "peak_bytes": 3 * 10**9, "failed": 0},
        median_seconds=statistics.median(sample["seconds"] for sample in samples),
        median_peak_bytes=statistics.median(sample["peak_bytes"] for sample in samples),
        samples=samples,
    )


def _play() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as workspace:
        started = time.perf_counter()
        demo = subprocess.Popen(
            [sys.executable, "-m", "cifarops.cli.main", "demo", "--json"],
            cwd=ROOT,
            env={**os.environ, "CIFAROPS_WORKSPACE": workspace},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        peak = 0
        while demo.poll() is None:
            peak = max(peak, _memory(demo.pid))
            time.sleep(_INTERVAL)
        seconds = time.perf_counter() - started
        summary = json.loads((Path(workspace) / "summary.json").read_text())
    if demo.returncode:
        raise SystemExit(f"the demo failed with code {demo.returncode}")
    return {
        "seconds": seconds,
        "peak_bytes": peak,
        "requests": summary["requests"],
        "steps": {step["name"]: step["seconds"] for step in summary["steps"]},
    }


def _memory(pid: int) -> int:
    """Proportional set size of a process and all under it, in bytes: shared pages are counted once."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


if __name__ == "__main__":
    main()
