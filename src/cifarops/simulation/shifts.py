"""Shifts of finished images, so that real images can suffer what the synthetic renderer does to its own."""

import numpy as np
from numpy.typing import NDArray

from cifarops.data.sources.scenes import FILTERS
from cifarops.errors import UsageError


def apply_shift(images: NDArray[np.uint8], shift: str, *, severity: float, seed: int) -> NDArray[np.uint8]:
    """Change images as a changed world or camera would.

    Args:
        images: uint8 (N, S, S, 3).
        shift: One of the renderer's shifts that need no scene: `fog`, `night` or `blur`.
        severity: How strong, in [0, 1]; at 0 nothing changes.
        seed: Seed of what varies from image to image.

    Returns:
        uint8 (N, S, S, 3).

    Raises:
        UsageError: There is no such shift for finished images.
    """
    if shift not in FILTERS:
        raise UsageError(
            f"The shift {shift!r} can't be laid on finished images.", fix=f"Use one of: {', '.join(FILTERS)}."
        )
    canvas = images.transpose(3, 0, 1, 2).astype(np.float32)
    canvas /= 255
    changed = FILTERS[shift](canvas, severity, np.random.default_rng(seed))
    rounded: NDArray[np.uint8] = (changed * 255).round().clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(rounded.transpose(1, 2, 3, 0))
