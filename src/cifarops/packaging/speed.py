"""How long the float32 and the int8 model take for an image, measured once per run and machine, then remembered."""

import hashlib
import time
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from cifarops.bundle.runtime import OnnxFile
from cifarops.data.preprocess import Preprocessing
from cifarops.files import write_atomic
from cifarops.machine import processor_name

RECORD = "speed.json"
_ROUNDS = 15
_CALLS = 4


class Speed(BaseModel):
    """Time for one image by one thread.

    Attributes:
        float32_ms: Milliseconds of the float32 model.
        int8_ms: Milliseconds of the int8 model.
        measured: What the times belong to: both models and the processor.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    float32_ms: float
    int8_ms: float
    measured: str

    @property
    def factor(self) -> float:
        """How many times as fast int8 is."""
        return self.float32_ms / self.int8_ms


def measure_speed(float32: bytes, int8: bytes, preprocessing: Preprocessing, run: Path) -> Speed:
    """Return the times of both models; what was measured before is looked up, so that packaging repeats itself.

    Args:
        float32: The float32 file.
        int8: The int8 file.
        preprocessing: How images become their input.
        run: Directory of the run, where the times are kept.
    """
    measured = hashlib.sha256(b"|".join((float32, int8, processor_name().encode()))).hexdigest()
    known = read_speed(run)
    if known is not None and known.measured == measured:
        return known
    models = [OnnxFile(content, preprocessing, name="the model") for content in (float32, int8)]
    shape = (1, preprocessing.size, preprocessing.size, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    best = [float("inf"), float("inf")]
    for _ in range(_ROUNDS):  # in turn, so that a noisy moment hits both
        for place, model in enumerate(models):
            began = time.perf_counter()
            for _ in range(_CALLS):
                model.logits(image)
            best[place] = min(best[place], (time.perf_counter() - began) / _CALLS)
    speed = Speed(float32_ms=best[0] * 1000, int8_ms=best[1] * 1000, measured=measured)
    write_atomic(run / RECORD, speed.model_dump_json(indent=2).encode())
    return speed


def read_speed(run: Path) -> Speed | None:
    """Return what was measured for the run in this directory, or None."""
    try:
        return Speed.model_validate_json((run / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None
