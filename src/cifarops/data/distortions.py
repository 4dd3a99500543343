"""Images whose pixels are taken from elsewhere: bent, scaled, moved. A stack is float32 (N, S, S, C)."""

import math

import numpy as np
from numpy.typing import NDArray

from cifarops.data.filtering import Stack, gaussian_blur


def elastic(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    """Bent like rubber, with the strengths of CIFAR-10-C; see `corruptions`."""
    strength, sigma, jolt = (
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    )[level]
    count, size = stack.shape[:2]
    jolts = size * jolt * random.uniform(-1, 1, (count, 3, 2))
    field = random.uniform(-1, 1, (count, size, size, 2)).astype(np.float32)
    moved = _positions(count, size)
    if strength:
        moved = moved + size * strength * gaussian_blur(field, size * sigma, truncate=3)
    # Three corners of a square in the middle are moved, and all pixels with them.
    corners = size // 2 + (size // 3) * np.array([(1, 1), (1, -1), (-1, -1)])
    homogeneous = np.concatenate([corners + jolts, np.ones((count, 3, 1))], axis=2)
    back = np.linalg.solve(homogeneous, np.broadcast_to(corners, (count, 3, 2))).astype(np.float32)
    source = moved.reshape(count, -1, 2) @ back[:, :2] + back[:, 2:]
    y, x = np.moveaxis(source.reshape(count, size, size, 2), 3, 0)
    return _warp(stack, y, x)


def scaled(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    """Larger or smaller about the centre, by up to half."""
    factor = 1 + (0.1, 0.2, 0.3, 0.4, 0.5)[level]
    factors = factor ** random.choice([-1.0, 1.0], (len(stack), 1, 1, 1))
    centre = (stack.shape[1] - 1) / 2
    source = centre + (_positions(len(stack), stack.shape[1]) - centre) / factors
    return _warp(stack, *np.moveaxis(source.astype(np.float32), 3, 0))


def translated(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    """Moved in some direction, by up to five sixteenths of the side."""
    far = stack.shape[1] * (1, 2, 3, 4, 5)[level] / 16
    angle = random.uniform(0, 2 * math.pi, len(stack))
    shift = far * np.stack([np.sin(angle), np.cos(angle)], axis=1)[:, None, None]
    source = _positions(len(stack), stack.shape[1]) + shift
    return _warp(stack, *np.moveaxis(source.astype(np.float32), 3, 0))


def _warp(stack: Stack, y: NDArray[np.float32], x: NDArray[np.float32]) -> Stack:
    """Take each pixel from elsewhere, bilinearly; outside, the image is reflected.

    Args:
        stack: float32 (N, S, S, C).
        y: Row that each output pixel is taken from, float32 (N, S, S).
        x: Column, likewise.
    """
    size = stack.shape[1]
    top, left = np.floor(y), np.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]
    rows = [_reflected(top.astype(np.int64) + step, size) for step in (0, 1)]
    columns = [_reflected(left.astype(np.int64) + step, size) for step in (0, 1)]
    images = np.arange(len(stack))[:, None, None]
    above, below = (
        (1 - right) * stack[images, row, columns[0]] + right * stack[images, row, columns[1]] for row in rows
    )
    return (1 - down) * above + down * below


def _positions(count: int, size: int) -> NDArray[np.float32]:
    """Row and column of each pixel: float32 (count, size, size, 2)."""
    grid = np.moveaxis(np.mgrid[:size, :size], 0, 2).astype(np.float32)
    return np.broadcast_to(grid, (count, size, size, 2))


def _reflected(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices beyond an end, counted back from it; the outermost pixel is not repeated."""
    period = 2 * (size - 1)
    index = index % period
    return np.minimum(index, period - index)
