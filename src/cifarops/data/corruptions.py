"""Images as a worse camera, weather or transmission would have given them, in five published severities.

The fifteen corruptions and their strengths are those of CIFAR-10-C: Hendrycks and Dietterich (2019), "Benchmarking Neural
Network Robustness to Common Corruptions and Perturbations", ICLR, arXiv:1903.12261, and the code released with it. They
are written anew for stacks of images. What differs: frost is drawn here, because the paper's photographs may not be
shipped; glass blur swaps pixels, as the paper says; elastic interpolates once, not twice; values are rounded, not cut.
Lengths are in pixels of a 32×32 image and grow with the image. Three shifts that the paper leaves out come besides.

These are laid on finished images. The renderer's own shifts (`sources.scenes`) change the drawn world instead, by a
strength without steps.
"""

import io
import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cifarops.data.distortions import elastic, scaled, translated
from cifarops.data.filtering import Stack, along_axes, correlate, gaussian_blur, plasma, smear, zoom_matrix
from cifarops.errors import UsageError

SEVERITIES = (1, 2, 3, 4, 5)
_CHUNK = 500
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

_Corruption = Callable[[Stack, int, np.random.Generator], Stack]


def corrupt(images: NDArray[np.uint8], name: str, *, severity: int, seed: int) -> NDArray[np.uint8]:
    """Corrupt images; the same seed gives the same images, and draws the same chance at every severity.

    Args:
        images: uint8 (N, S, S, 3), S at least 8.
        name: One of `CORRUPTIONS` or `SHIFTS`.
        severity: 1 to 5.
        seed: Seed of what varies from image to image.

    Returns:
        uint8 (N, S, S, 3).

    Raises:
        UsageError: There is no such corruption or severity.
    """
    known = CORRUPTIONS | SHIFTS
    if name not in known or severity not in SEVERITIES:
        raise UsageError(
            f"There is no corruption {name!r} of severity {severity}.",
            fix=f"Use severity 1 to 5 of: {', '.join(known)}.",
        )
    result = np.empty_like(images)
    for start in range(0, len(images), _CHUNK):
        stack: Stack = images[start : start + _CHUNK].astype(np.float32) / np.float32(255)
        random = np.random.default_rng((seed, start, *name.encode()))
        changed = known[name](stack, severity - 1, random)
        result[start : start + _CHUNK] = (changed.clip(0, 1) * 255).round()
    return result


def _gaussian_noise(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    scale = (0.04, 0.06, 0.08, 0.09, 0.10)[level]
    return stack + np.float32(scale) * random.standard_normal(stack.shape, dtype=np.float32)


def _shot_noise(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    photons = (500, 250, 100, 75, 50)[level]
    return (random.poisson(stack * photons) / photons).astype(np.float32)


def _impulse_noise(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    share = (0.01, 0.02, 0.03, 0.05, 0.07)[level]
    chance = random.random(stack.shape, dtype=np.float32)
    stack = np.where(chance < share / 2, np.float32(0), stack)
    return np.where(chance > 1 - share / 2, np.float32(1), stack)


def _defocus_blur(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    radius, alias = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))[level]
    unit = _unit(stack)
    reach = math.ceil(radius * unit) + 1
    offsets = np.arange(-reach, reach + 1)
    disk = (offsets[:, None] ** 2 + offsets**2 <= (radius * unit) ** 2).astype(np.float64)
    edge = np.exp(-0.5 * (np.arange(-1, 2) / alias) ** 2)
    soft = np.apply_along_axis(np.convolve, 0, disk / disk.sum(), edge / edge.sum(), mode="same")
    return correlate(stack, np.apply_along_axis(np.convolve, 1, soft, edge / edge.sum(), mode="same"))


def _glass_blur(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    sigma, reach, rounds = ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))[level]
    stack = gaussian_blur(stack, sigma * _unit(stack)).copy()
    count, size = stack.shape[:2]
    images = np.arange(count)
    inner = range(size - reach - 1, reach, -1)
    for _ in range(rounds):
        moves = random.integers(-reach, reach, (len(inner), len(inner), 2, count))
        for row, rows in zip(inner, moves, strict=True):
            for column, (down, right) in zip(inner, rows, strict=True):
                here = stack[:, row, column].copy()
                stack[:, row, column] = stack[images, row + down, column + right]
                stack[images, row + down, column + right] = here
    return gaussian_blur(stack, sigma * _unit(stack))


def _motion_blur(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    radius, sigma = ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))[level]
    angles = np.radians(random.uniform(-45, 45, len(stack)))
    return smear(stack, angles, radius=radius * _unit(stack), sigma=sigma * _unit(stack))


def _zoom_blur(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    steps = (6, 11, 16, 21, 26)[level]
    total = stack.copy()
    for step in range(steps):
        enlarge = zoom_matrix(stack.shape[1], 1 + step / 100)
        total += along_axes(stack, enlarge, enlarge)
    blurred: Stack = total / np.float32(steps + 1)
    return blurred


def _snow(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    mean, spread, zoom, threshold, radius, sigma, kept = (
        (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
        (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
        (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
        (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
        (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
    )[level]
    unit = _unit(stack)
    flakes: Stack = mean + spread * random.standard_normal((*stack.shape[:3], 1), dtype=np.float32)
    enlarge = zoom_matrix(stack.shape[1], zoom * unit if zoom * unit > 1 else 1)
    flakes = along_axes(flakes, enlarge, enlarge)
    flakes = np.where(flakes < threshold, np.float32(0), flakes.clip(0, 1))
    angles = np.radians(random.uniform(-135, -45, len(stack)))
    flakes = smear(flakes, angles, radius=radius * unit, sigma=sigma * unit)
    grey = (stack @ _LUMA)[..., None]
    pale = kept * stack + (1 - kept) * np.maximum(stack, grey * 1.5 + 0.5)
    snowed: Stack = pale + flakes + np.rot90(flakes, 2, (1, 2))
    return snowed


def _frost(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    kept, laid_on = ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))[level]
    panes, size = _frosted_panes(8 * stack.shape[1]), stack.shape[1]
    pane = random.integers(0, len(panes), len(stack))[:, None, None]
    top, left = random.integers(0, panes.shape[1] - size, (2, len(stack), 1, 1))
    rows, columns = top + np.arange(size)[:, None], left + np.arange(size)
    iced: Stack = kept * stack + laid_on * panes[pane, rows, columns]
    return iced


def _fog(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    density, decay = ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))[level]
    brightest = stack.max(axis=(1, 2, 3), keepdims=True)
    clouds = plasma(len(stack), stack.shape[1], decay, random)
    foggy: Stack = (stack + density * clouds) * brightest / (brightest + density)
    return foggy


def _brightness(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    more = np.float32((0.05, 0.1, 0.15, 0.2, 0.3)[level])
    value = stack.max(axis=3, keepdims=True)  # of hue, saturation and value; the other two stay
    brighter = np.minimum(value + more, 1)
    lit: Stack = np.where(value > 0, stack * (brighter / np.maximum(value, 1e-6)), brighter)
    return lit


def _contrast(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    kept = np.float32((0.75, 0.5, 0.4, 0.3, 0.15)[level])
    mean = stack.mean(axis=(1, 2), keepdims=True)
    flat: Stack = (stack - mean) * kept + mean
    return flat


def _pixelate(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    size = stack.shape[1]
    fewer = int(size * (0.95, 0.9, 0.85, 0.75, 0.65)[level])
    both = _box_matrix(fewer, size) @ _box_matrix(size, fewer)
    return along_axes(stack, both, both)


def _jpeg(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    quality = (80, 65, 58, 50, 40)[level]
    result = np.empty_like(stack)
    for place, pixels in enumerate((stack * 255).round().astype(np.uint8)):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        result[place] = np.asarray(Image.open(file), dtype=np.float32) / 255
    return result


def _hue(stack: Stack, level: int, random: np.random.Generator) -> Stack:
    """Colours turned about grey, either way, by up to a quarter of the circle."""
    turn = 2 * math.pi * (0.05, 0.1, 0.15, 0.2, 0.25)[level]
    angle = turn * random.choice([-1.0, 1.0], (len(stack), 1, 1, 1))
    grey = stack.mean(axis=3, keepdims=True)
    across = (np.roll(stack, -1, 3) - np.roll(stack, 1, 3)) / math.sqrt(3)
    turned: Stack = (grey + np.cos(angle) * (stack - grey) + np.sin(angle) * across).astype(np.float32)
    return turned


CORRUPTIONS: dict[str, _Corruption] = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "impulse_noise": _impulse_noise,
    "defocus_blur": _defocus_blur,
    "glass_blur": _glass_blur,
    "motion_blur": _motion_blur,
    "zoom_blur": _zoom_blur,
    "snow": _snow,
    "frost": _frost,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "elastic": elastic,
    "pixelate": _pixelate,
    "jpeg": _jpeg,
}
SHIFTS: dict[str, _Corruption] = {"scale": scaled, "translation": translated, "hue": _hue}


def _unit(stack: Stack) -> float:
    """Pixels for each pixel of a 32×32 image."""
    return float(stack.shape[1] / 32)


@cache
def _box_matrix(inputs: int, outputs: int) -> NDArray[np.float32]:
    """Return Pillow's resizing with a box filter as a linear map (outputs, inputs)."""
    unit = Image.fromarray(np.eye(inputs, dtype=np.float32))
    return np.asarray(unit.resize((inputs, outputs), Image.Resampling.BOX))


@cache
def _frosted_panes(size: int) -> Stack:
    """Draw five panes with ice on them: white needles along the folds of a rough field, bluish between: (5, S, S, 3)."""
    random = np.random.default_rng(0)
    needles = (1 - np.abs(2 * plasma(5, size, 1.5, random) - 1)) ** 8
    film = 0.1 + 0.7 * plasma(5, size, 1.15, random) ** 2
    tint = np.array([0.85, 0.95, 1.0], dtype=np.float32)
    ice: Stack = (film * tint + needles * (1 - film * tint)).astype(np.float32)
    return ice
