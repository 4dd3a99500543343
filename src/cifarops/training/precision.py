"""Which number format the forward and backward pass use: measured once on a machine, then remembered."""

import hashlib
import json
import platform
import time
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional

from cifarops.files import write_atomic
from cifarops.machine import processor_name
from cifarops.training.run import Precision

DTYPES: dict[Precision, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_ROUNDS = 3
_WORTH_IT = 0.9  # bfloat16 must save a tenth of the time to be worth its rounding


def choose_precision(wanted: Literal["auto", "float32", "bfloat16"], cache: Path) -> Precision:
    """Return the number format to train with.

    Args:
        wanted: `auto` takes bfloat16 where a convolution's forward and backward pass is clearly faster in it.
        cache: Directory where the measurement is kept, so that a machine always answers the same.
    """
    if wanted != "auto":
        return wanted
    record = cache / f"precision-{_machine()}.json"
    try:
        found = json.loads(record.read_bytes())["precision"]
    except (OSError, ValueError, KeyError, TypeError):
        found = None
    if found == "float32" or found == "bfloat16":
        return "float32" if found == "float32" else "bfloat16"
    seconds = {name: _measure(dtype) for name, dtype in DTYPES.items()}
    chosen: Precision = "bfloat16" if seconds["bfloat16"] < _WORTH_IT * seconds["float32"] else "float32"
    write_atomic(record, json.dumps({"precision": chosen, "seconds": seconds}).encode())
    return chosen


def _measure(dtype: torch.dtype) -> float:
    """Return the best of a few times for one convolution, forward and backward, in seconds."""
    images = torch.ones(64, 64, 16, 16, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    filters = torch.ones(64, 64, 3, 3, dtype=dtype).requires_grad_()
    times = []
    for _ in range(_ROUNDS + 1):
        start = time.perf_counter()
        functional.conv2d(images, filters, padding=1).sum().backward()  # type: ignore[no-untyped-call]
        times.append(time.perf_counter() - start)
    return min(times[1:])


def _machine() -> str:
    """Identify what the measurement depends on."""
    identity = f"{platform.machine()}|{processor_name()}|{torch.__version__}|{torch.get_num_threads()}"
    return hashlib.sha256(identity.encode()).hexdigest()[:12]
