"""What this process may use of the machine."""

import os
import platform
from pathlib import Path

# The processor's own names of instructions that multiply int8 four at a time and add up in 32 bits. Without one, ONNX
# Runtime adds up in 16 bits on x86, which overflows.
_INT8_INSTRUCTIONS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
_FACTS = Path("/proc/cpuinfo")


def usable_cores() -> int:
    """Return how many processors this process may run on; all of them where the system does not say (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor_name() -> str:
    """Return what the processor calls itself."""
    return next((line for line in _processor_facts("model name")), platform.processor())


def multiplies_int8() -> bool:
    """Return whether the processor has instructions for int8 networks; False where the system does not say."""
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    listed = [*_processor_facts("flags"), *_processor_facts("Features")]
    return any(not _INT8_INSTRUCTIONS.isdisjoint(line.split()) for line in listed[:1])


def _processor_facts(name: str) -> list[str]:
    """Return what Linux says of each processor under `name`; nothing on other systems."""
    lines = _FACTS.read_text().splitlines() if _FACTS.is_file() else []
    return [line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name]
