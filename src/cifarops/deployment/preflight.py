"""What a version must show before any server is asked to load it."""

import time
from dataclasses import dataclass

import numpy as np

from cifarops.bundle.runtime import OnnxModel
from cifarops.bundle.store import Bundle
from cifarops.errors import IntegrityError

_IMAGES = 64


@dataclass(frozen=True)
class Preflight:
    """What was measured.

    Attributes:
        images: How many images were answered, one by one.
        milliseconds: Median time for one.
    """

    images: int
    milliseconds: float


def preflight(bundle: Bundle) -> Preflight:
    """Load a verified bundle and let it answer random images, one by one and as a batch.

    Raises:
        IntegrityError: It can't be loaded, or its answers have the wrong shape, are not finite or depend on the batch.
    """
    model = OnnxModel(bundle)
    size = bundle.manifest.preprocessing.size
    images = np.random.default_rng(0).integers(0, 256, (_IMAGES, size, size, 3), dtype=np.uint8)
    try:
        together = model.logits(images)
        alone, seconds = [], []
        for image in images:
            start = time.perf_counter()
            alone.append(model.logits(image[None])[0])
            seconds.append(time.perf_counter() - start)
    except Exception as error:  # ONNX Runtime raises a type of its own for each cause
        raise _refused(bundle, f"it fails on images of its own size ({error})") from error
    wanted = (_IMAGES, len(bundle.manifest.classes))
    if together.shape != wanted or not np.isfinite(together).all():
        raise _refused(bundle, f"its answer has shape {together.shape}, not {wanted}, or is not finite")
    difference = float(np.abs(together - np.stack(alone)).max())
    if difference > bundle.manifest.parity.tolerance:
        raise _refused(bundle, f"an image's logits change by {difference:.3g} with the images beside it")
    return Preflight(_IMAGES, float(np.median(seconds)) * 1000)


def _refused(bundle: Bundle, what: str) -> IntegrityError:
    return IntegrityError(
        f"Bundle {bundle.digest[:12]} fails the preflight: {what}.",
        fix="Package the run again, or promote another version: cifarops registry list.",
    )
