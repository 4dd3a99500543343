"""Filters and random fields for stacks of images: float32 (N, S, S, C), values usually in [0, 1]."""

import math

import numpy as np
from numpy.typing import NDArray

Stack = NDArray[np.float32]
_TRUNCATE = 4.0  # standard deviations after which a Gaussian counts as over


def gaussian_blur(stack: Stack, sigma: float, *, truncate: float = _TRUNCATE) -> Stack:
    """Blur along both axes of the image by a Gaussian of `sigma` pixels; borders repeat."""
    radius = int(truncate * sigma + 0.5)
    if not radius:
        return stack
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (1, 2):
        padded = np.pad(stack, _around(radius if axis == 1 else 0, radius if axis == 2 else 0), "edge")
        size = stack.shape[axis]
        total = np.zeros_like(stack)
        for place, weight in enumerate(weights.tolist()):
            total += weight * padded[(slice(None),) * axis + (slice(place, place + size),)]
        stack = total
    return stack


def correlate(stack: Stack, kernel: NDArray[np.float64]) -> Stack:
    """Correlate every image and channel with a kernel (K, K), K odd; borders are reflected."""
    radius = len(kernel) // 2
    height, width = stack.shape[1:3]
    padded = np.pad(stack, _around(radius, radius), "reflect")
    total = np.zeros_like(stack)
    for row, column in np.argwhere(kernel):
        weight = float(kernel[row, column])
        total += weight * padded[:, row : row + height, column : column + width]
    return total


def smear(stack: Stack, angles: NDArray[np.float64], *, radius: float, sigma: float) -> Stack:
    """Blur each image one way along its own direction, with the falling half of a Gaussian; borders repeat.

    Args:
        stack: float32 (N, S, S, C).
        angles: Radians (N,), clockwise from the rightward direction.
        radius: The longest reach is 2 × `radius` pixels.
        sigma: Standard deviation of the Gaussian in pixels.
    """
    steps = np.arange(2 * math.ceil(radius) + 1)
    weights = np.exp(-0.5 * (steps / sigma) ** 2)
    steps, weights = steps[weights > 1e-3], weights[weights > 1e-3]
    weights /= weights.sum()
    images, size = np.arange(len(stack))[:, None, None], stack.shape[1]
    total = np.zeros_like(stack)
    for step, weight in zip(steps.tolist(), weights.tolist(), strict=True):
        rows = _clipped(np.rint(step * np.sin(angles)), size)
        columns = _clipped(np.rint(step * np.cos(angles)), size)
        total += weight * stack[images, rows[:, :, None], columns[:, None, :]]
    return total


def along_axes(stack: Stack, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Stack:
    """Apply a linear map to each axis: out[n, i, j, c] = Σ rows[i, p] · columns[j, q] · stack[n, p, q, c]."""
    count, height, width, channels = stack.shape
    half = rows @ stack.reshape(count, height, width * channels)
    return columns @ half.reshape(count, len(rows), width, channels)


def zoom_matrix(size: int, factor: float) -> NDArray[np.float32]:
    """Return the linear map (S, S) of one axis that enlarges the centre by `factor` ≥ 1, bilinearly."""
    crop = math.ceil(size / factor)
    enlarged = round(crop * factor)
    position = (np.arange(size) + (enlarged - size) // 2) * (crop - 1) / max(enlarged - 1, 1)
    source = (size - crop) // 2 + position
    low = np.minimum(np.floor(source).astype(np.int64), size - 2)
    matrix = np.zeros((size, size), dtype=np.float32)
    matrix[np.arange(size), low] = 1 - (source - low)
    matrix[np.arange(size), low + 1] = source - low
    return matrix


def plasma(count: int, size: int, decay: float, random: np.random.Generator) -> Stack:
    """Draw cloudy fields by the diamond-square method, float32 (count, size, size, 1), each from 0 to 1.

    Fournier, Fussell and Carpenter (1982), "Computer rendering of stochastic models", CACM 25, on a torus.

    Args:
        count: How many.
        size: Height and width in pixels.
        decay: How much weaker the next finer scale is; 1 is rough, 3 smooth.
        random: Source of chance.
    """
    side = 1 << max(1, math.ceil(math.log2(size)))
    field = np.zeros((count, side, side), dtype=np.float32)
    step, strength = side, 1.0
    while step >= 2:
        half = step // 2
        corners = field[:, ::step, ::step]
        middle = _mean_of(corners, (0, -1), (0, -1))
        field[:, half::step, half::step] = _wobbled(middle, strength, random)
        centres = field[:, half::step, half::step]
        on_rows = (corners + np.roll(corners, -1, 2) + centres + np.roll(centres, 1, 1)) * np.float32(0.25)
        on_columns = (corners + np.roll(corners, -1, 1) + centres + np.roll(centres, 1, 2)) * np.float32(0.25)
        field[:, ::step, half::step] = _wobbled(on_rows, strength, random)
        field[:, half::step, ::step] = _wobbled(on_columns, strength, random)
        step, strength = half, strength / decay
    field = field[:, :size, :size]
    field -= field.min(axis=(1, 2), keepdims=True)
    field /= field.max(axis=(1, 2), keepdims=True)
    return field[..., None]


def _mean_of(corners: Stack, rows: tuple[int, int], columns: tuple[int, int]) -> Stack:
    shifted = [np.roll(corners, (row, column), (1, 2)) for row in rows for column in columns]
    mean: Stack = np.mean(shifted, axis=0, dtype=np.float32)
    return mean


def _wobbled(mean: Stack, strength: float, random: np.random.Generator) -> Stack:
    return mean + np.float32(strength) * (2 * random.random(mean.shape, dtype=np.float32) - 1)


def _clipped(shift: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Indices (N, S) of an axis moved by `shift` (N,), kept inside."""
    moved: NDArray[np.int64] = np.clip(np.arange(size) + shift.astype(np.int64)[:, None], 0, size - 1)
    return moved


def _around(rows: int, columns: int) -> tuple[tuple[int, int], ...]:
    return (0, 0), (rows, rows), (columns, columns), (0, 0)
