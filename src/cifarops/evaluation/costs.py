"""What a packaged model costs on this machine: time, disk and memory."""

import statistics
import subprocess
import sys
import time

import numpy as np
from pydantic import BaseModel, ConfigDict

from cifarops.bundle.runtime import OnnxModel, served_precision
from cifarops.bundle.store import Bundle
from cifarops.errors import UnavailableError
from cifarops.machine import processor_name

_CALLS = 200
_WARM_UP = 20
_BATCH = 32
# In a process of its own, because memory that this one has used before would count. On Linux the system's own record of
# the program is read: what `getrusage` says includes the process that started it.
_MEASURE_MEMORY = f"""
import resource, sys
from pathlib import Path
import numpy as np
from cifarops.bundle.runtime import OnnxModel
from cifarops.bundle.store import open_bundle
bundle = open_bundle(Path(sys.argv[1]))
size = bundle.manifest.preprocessing.size
OnnxModel(bundle).logits(np.zeros(({_BATCH}, size, size, 3), np.uint8))
status = Path("/proc/self/status")
if status.exists():
    print(1024 * int(status.read_text().split("VmHWM:")[1].split()[0]))
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


class Costs(BaseModel):
    """What the packaged model costs.

    Attributes:
        machine: The processor.
        precision: Which of the bundle's models was measured: the one that answers here.
        median_ms: Median time to answer one image on one core, milliseconds.
        fastest_ms: Fastest of the same calls: what the model needs on a machine with nothing else to do.
        size_mb: Size of the model file, megabytes.
        memory_mb: Most memory that a process needed to load it and answer a batch of 32, megabytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine: str
    precision: str
    median_ms: float
    fastest_ms: float
    size_mb: float
    memory_mb: float


def measure_costs(bundle: Bundle) -> Costs:
    """Measure a bundle's costs; takes about a second.

    Raises:
        UnavailableError: The process that measures memory failed.
    """
    precision = served_precision(bundle)
    times = _times(bundle)
    return Costs(
        machine=processor_name(),
        precision=precision,
        median_ms=1000 * statistics.median(times),
        fastest_ms=1000 * min(times),
        size_mb=(bundle.int8_path if precision == "int8" else bundle.model_path).stat().st_size / 1e6,
        memory_mb=_memory(bundle),
    )


def _times(bundle: Bundle) -> list[float]:
    model = OnnxModel(bundle)
    size = bundle.manifest.preprocessing.size
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    times = []
    for _ in range(_WARM_UP + _CALLS):
        began = time.perf_counter()
        model.logits(image)
        times.append(time.perf_counter() - began)
    return times[_WARM_UP:]


def _memory(bundle: Bundle) -> float:
    command = [sys.executable, "-c", _MEASURE_MEMORY, str(bundle.path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise UnavailableError(
            f"The memory of bundle {bundle.digest[:12]} could not be measured: {found.stderr.strip()[-300:]}",
            fix="Free some memory, and judge again.",
        )
    return int(found.stdout) / 1e6
