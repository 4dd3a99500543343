"""What is around the objects of the synthetic source: backgrounds, colours, and the shifts on command.

A canvas is float32 (3, N, S, S) with R, G, B in [0, 1].
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.float32]
Colours = NDArray[np.float32]

# Upper and lower colour of a scene: sky, meadow, road, sea, room, forest.
_SCENES = np.array(
    [
        [(0.55, 0.72, 0.92), (0.82, 0.88, 0.95)],
        [(0.62, 0.78, 0.90), (0.35, 0.55, 0.22)],
        [(0.65, 0.67, 0.72), (0.38, 0.38, 0.40)],
        [(0.66, 0.78, 0.90), (0.16, 0.34, 0.50)],
        [(0.78, 0.70, 0.58), (0.48, 0.36, 0.28)],
        [(0.22, 0.34, 0.20), (0.36, 0.32, 0.18)],
    ],
    dtype=np.float32,
)
_HABITAT = np.array([0, 2, 0, 4, 5, 4, 1, 1, 3, 2])  # by label: where a class is mostly seen
_AT_HOME = 0.5

# Colours of bodies: vehicles may have any, animals have fur, feathers or skin.
_VEHICLE = np.array(
    [
        (0.8, 0.1, 0.1),
        (0.1, 0.2, 0.7),
        (0.9, 0.9, 0.9),
        (0.15, 0.15, 0.17),
        (0.9, 0.75, 0.1),
        (0.5, 0.55, 0.6),
    ]
)
_ANIMAL = np.array(
    [
        (0.45, 0.3, 0.15),
        (0.7, 0.5, 0.3),
        (0.2, 0.18, 0.16),
        (0.85, 0.82, 0.76),
        (0.55, 0.53, 0.5),
        (0.35, 0.45, 0.15),
    ]
)
_IS_VEHICLE = np.array([True, True, False, False, False, False, False, False, True, True])


def body_colours(labels: NDArray[np.int64], rng: np.random.Generator) -> Colours:
    """Draw a body colour for each label: float32 (3, N)."""
    chosen = rng.integers(0, 6, len(labels))
    base = np.where(_IS_VEHICLE[labels, None], _VEHICLE[chosen], _ANIMAL[chosen])
    return (base + rng.normal(0, 0.08, base.shape)).clip(0, 1).T.astype(np.float32)


def backgrounds(labels: NDArray[np.int64], size: int, rng: np.random.Generator) -> Canvas:
    """Draw a scene for each label: two colours with a horizon, a wavy texture and a few blots."""
    count = len(labels)
    scene = np.where(rng.random(count) < _AT_HOME, _HABITAT[labels], rng.integers(0, len(_SCENES), count))
    colours = _SCENES[scene] + rng.normal(0, 0.07, (count, 2, 3)).astype(np.float32)
    x, y = grid(size)
    horizon, softness = _column(rng, count, -0.6, 0.4), _column(rng, count, 1.0, 12.0)
    upper = np.clip(0.5 + (y - horizon) * softness, 0, 1)
    texture = _waves(x, y, rng, count) * _column(rng, count, 0.01, 0.08)
    canvas = np.empty((3, count, size, size), dtype=np.float32)
    for channel in range(3):
        above, below = (colours[:, part, channel, None, None] for part in (0, 1))
        canvas[channel] = below + upper * (above - below) + texture
    for _ in range(2):
        _blot(canvas, x, y, rng)
    return canvas


def unseen_backgrounds(count: int, size: int, rng: np.random.Generator) -> Canvas:
    """Draw backgrounds unlike any of `backgrounds`: checks and stripes in strong colours."""
    x, y = grid(size)
    angle, pitch = _column(rng, count, 0, np.pi), _column(rng, count, 4, 9)
    along = np.sin(pitch * (x * np.cos(angle) + y * np.sin(angle)))
    across = np.sin(pitch * (y * np.cos(angle) - x * np.sin(angle)))
    checked = np.where(_column(rng, count, 0, 1) < 0.5, along * across > 0, along > 0)
    first, second = rng.random((2, 3, count, 1, 1), dtype=np.float32)
    canvas: Canvas = np.where(checked, first, second)
    return canvas


def fog(canvas: Canvas, severity: float, rng: np.random.Generator) -> Canvas:
    """Lay pale fog over the image, denser towards the top, as far things are."""
    count, size = canvas.shape[1:3]
    _, y = grid(size)
    density = np.clip(severity * (_column(rng, count, 0.7, 0.9) + 0.15 * y), 0, 1)
    tint = (rng.uniform(0.72, 0.88, (1, count, 1, 1)) + rng.normal(0, 0.01, (3, count, 1, 1))).astype(
        np.float32
    )
    return canvas + density * (tint - canvas)


def night(canvas: Canvas, severity: float, rng: np.random.Generator) -> Canvas:
    """Take light away, red most of all."""
    level = 1 - severity * _column(rng, canvas.shape[1], 0.7, 0.9)
    tint = 1 - severity * np.array([0.45, 0.25, 0.0], dtype=np.float32).reshape(3, 1, 1, 1)
    darkened: Canvas = canvas * level * tint
    return darkened


def blur(canvas: Canvas, severity: float, rng: np.random.Generator) -> Canvas:
    """Put the image out of focus: a box filter, three times, over up to a sixth of its side."""
    size = canvas.shape[2]
    radius = severity * size / 12
    for _ in range(3):
        for axis in (2, 3):
            canvas = _box_filter(canvas, radius, axis)
    return canvas


# Shifts of the finished image. The other names in `synthetic.SHIFTS` change how it is drawn.
FILTERS: dict[str, Callable[[Canvas, float, np.random.Generator], Canvas]] = {
    "fog": fog,
    "night": night,
    "blur": blur,
}


def grid(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coordinates of pixel centres in (-1, 1): x to the right (1, S), y upwards (S, 1)."""
    centres = ((np.arange(size) + 0.5) * 2 / size - 1).astype(np.float32)
    return centres[None, :], -centres[:, None]


def paint(canvas: Canvas, cover: NDArray[np.float32], colour: Colours) -> None:
    """Cover a canvas, in place, with a colour (3, N) by a share in [0, 1], (N, S, S)."""
    for channel in range(3):
        plane = canvas[channel]
        plane += cover * (colour[channel, :, None, None] - plane)


def _column(rng: np.random.Generator, count: int, low: float, high: float) -> NDArray[np.float32]:
    return (low + (high - low) * rng.random((count, 1, 1), dtype=np.float32)).astype(np.float32)


def _waves(
    x: NDArray[np.float32], y: NDArray[np.float32], rng: np.random.Generator, count: int
) -> NDArray[np.float32]:
    """Two crossing waves, in [-1, 1]; products of one-dimensional waves, which are cheap."""
    total: NDArray[np.float32] = np.zeros((count, y.size, x.size), dtype=np.float32)
    for _ in range(2):
        across = np.sin(_column(rng, count, 2, 14) * x + _column(rng, count, 0, 6.3))
        upwards = np.sin(_column(rng, count, 2, 14) * y + _column(rng, count, 0, 6.3))
        total += 0.5 * across * upwards
    return total


def _blot(canvas: Canvas, x: NDArray[np.float32], y: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Paint one soft ellipse somewhere."""
    count = canvas.shape[1]
    a = (x - _column(rng, count, -1.1, 1.1)) / _column(rng, count, 0.1, 0.6)
    b = (y - _column(rng, count, -1.1, 1.1)) / _column(rng, count, 0.1, 0.5)
    cover = np.clip((1 - (a * a + b * b)) * 3, 0, 1)
    colour = _SCENES[rng.integers(0, len(_SCENES), count), rng.integers(0, 2, count)].T
    paint(canvas, cover, colour)


def _box_filter(canvas: Canvas, radius: float, axis: int) -> Canvas:
    """Mean over 2·radius + 1 pixels, the outermost weighted by the fraction; borders repeat."""
    whole, part = int(radius), radius - int(radius)
    size = canvas.shape[axis]
    positions = np.arange(size)
    total = np.zeros_like(canvas)
    for offset in range(-whole - 1, whole + 2):
        weight = part if abs(offset) > whole else 1.0
        if weight:
            total += weight * canvas.take(np.clip(positions + offset, 0, size - 1), axis=axis)
    return total / (2 * radius + 1)
