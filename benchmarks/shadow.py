"""The same load with and without a shadow of the same size: what second answers cost the first ones.

python -m benchmarks.shadow [--quick] --out FILE
"""

import re
import statistics
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import urllib3

from benchmarks.harness import arguments, write
from benchmarks.load import LoadResult, load
from benchmarks.serving import images, promote
from cifarops.deployment.process import ServerProcess
from cifarops.deployment.settle import settle
from cifarops.ledger.records import Decision, DecisionKind, Shadow
from cifarops.ledger.store import Ledger
from cifarops.settings import Settings

_CONNECTIONS = (1, 4)
_SETTLE_SECONDS = 10.0
_TARGET_RATIO = 1.1
_SHADOWED = re.compile(r'^cifarops_shadowed_total\{outcome="(\w+)"\} (\S+)$', re.MULTILINE)


def main() -> None:
    """Load one server in turns, with the shadow and without."""
    options = arguments("Answers beside a shadow")
    rounds, seconds = (1, 2.0) if options.quick else (7, 6.0)
    bodies, results = images(), dict[str, list[LoadResult]]()
    with tempfile.TemporaryDirectory() as folder:
        digest = promote(Path(folder)).digest
        path = Settings.from_environment({"CIFAROPS_WORKSPACE": folder}).ledger
        with ServerProcess("production", workspace=Path(folder)) as server, Ledger(path) as ledger:
            for _ in range(rounds):
                for connections in _CONNECTIONS:
                    for shadow in (None, Shadow(2, digest, time.time())):
                        _set(ledger, shadow)
                        measured = load(
                            f"{server.url}/predict", bodies, connections=connections, seconds=seconds
                        )
                        name = f"connections_{connections}_{'shadow' if shadow else 'alone'}"
                        results.setdefault(name, []).append(measured)
            text = urllib3.request("GET", f"{server.url}/metrics").data.decode()
    medians = {name: _medians(samples) for name, samples in results.items()}
    write(
        options.out,
        "shadow",
        what="p50 and p99 beside a shadow, as a multiple of those without",
        target_ratio=_TARGET_RATIO,
        ratios={f"connections_{n}": _ratios(medians, n) for n in _CONNECTIONS},
        second_answers={outcome: float(count) for outcome, count in _SHADOWED.findall(text)},
        medians=medians,
        samples={name: [asdict(each) for each in samples] for name, samples in results.items()},
    )


def _set(ledger: Ledger, shadow: Shadow | None) -> None:
    seen = ledger.environment("production")
    kind: DecisionKind = "shadow" if shadow else "shadow_stopped"
    why = Decision(kind, "production", 2, "benchmark", "to be measured")
    settle(ledger.swap(seen, replace(seen, shadow=shadow), why), ledger, timeout_s=_SETTLE_SECONDS)


def _medians(samples: list[LoadResult]) -> dict[str, float]:
    keys = ("requests_per_second", "p50_ms", "p99_ms", "max_ms", "failed")
    return {key: statistics.median(getattr(each, key) for each in samples) for key in keys}


def _ratios(medians: dict[str, dict[str, float]], connections: int) -> dict[str, Any]:
    alone, beside = (medians[f"connections_{connections}_{name}"] for name in ("alone", "shadow"))
    return {key: beside[key] / alone[key] for key in ("p50_ms", "p99_ms", "requests_per_second")}


if __name__ == "__main__":
    main()
