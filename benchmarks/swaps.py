"""A thousand swaps of model and code, good and bad, under constant load: what clients notice, and what it costs in memory.

python -m benchmarks.swaps [--quick] --out FILE
"""

import tempfile
import time
from typing import Any

from benchmarks.clients import Seen
from benchmarks.codes import good_and_bad_code
from benchmarks.harness import arguments, write
from benchmarks.swapping import Swapper, resident_bytes
from cifarops.settings import Settings

_TARGET_GROWTH = 20_000_000


def main() -> None:
    """Swap models first, all in one process whose memory is watched, then code and models."""
    options = arguments("A thousand swaps under load")
    models, codes = (24, 6) if options.quick else (800, 200)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.from_environment({"CIFAROPS_WORKSPACE": folder, "CIFAROPS_ACTOR": "benchmark"})
        swapper = Swapper(settings, *good_and_bad_code(settings.releases))
        try:
            results = measured(swapper, models, codes)
        finally:
            swapper.close()
    write(
        options.out,
        "swaps",
        what="every answer checked against the version that it names; failed and wrong must be 0",
        target_growth_bytes=_TARGET_GROWTH,
        **results,
    )


def measured(swapper: Swapper, models: int, codes: int) -> dict[str, Any]:
    """Do so many swaps while clients ask, and describe what they saw."""
    memory: list[int] = []
    with swapper.watched() as seen:
        pid, begun = swapper.pid, time.perf_counter()
        for _ in range(models):
            swapper.swap_model()
            memory.append(resident_bytes(pid))
        for number in range(codes):
            if number % 2:
                swapper.swap_code()
            else:
                swapper.swap_model()
        seconds = time.perf_counter() - begun
    return {**described(swapper, seen), "seconds": seconds, "memory": _growth(memory)}


def described(swapper: Swapper, seen: Seen) -> dict[str, Any]:
    """Count what was swapped and what clients saw."""
    return {
        "swaps": sum(swapper.counts.values()),
        "kinds": swapper.counts,
        "answered": len(seen.answers),
        "failed": len(seen.failures),
        "wrong": len(seen.wrong) + seen.out_of_turn(swapper.reigns),
        "first_failures": seen.failures[:5],
        "first_wrong": seen.wrong[:5],
    }


def _growth(memory: list[int]) -> dict[str, Any]:
    """Describe resident memory after each swap; what the first tenth needs is no growth."""
    settled = memory[len(memory) // 10]
    return {"bytes_after_a_tenth": settled, "growth_bytes": memory[-1] - settled, "samples": memory}


if __name__ == "__main__":
    main()
