"""The shapes of the synthetic classes, as signed distances: negative inside, in units of the object's half size.

Every function draws many objects at once. `u` and `v` are object coordinates, float32 (N, S, S), with the object
within about [-1, 1], facing right, up being positive; `pick(low, high)` gives one random number an object, (N, 1, 1).
A class returns its parts from back to front: a distance and the paint it is covered with.

Distances as in I. Quilez, "2D distance functions" (https://iquilezles.org/articles/distfunctions2d/).
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.floating[Any]]  # float32 where the coordinates are
Pick = Callable[[float, float], Field]
Paint = Literal["body", "trim", "dark", "light"]
Parts = list[tuple[Field, Paint]]
Shape = Callable[[Field, Field, Pick], Parts]
Number = Field | float


def ellipse(u: Field, v: Field, x: Number, y: Number, width: Number, height: Number) -> Field:
    """Distance to an ellipse with half axes `width` and `height` (exact at the edge, scaled elsewhere)."""
    a, b = (u - x) / width, (v - y) / height
    distance: Field = (np.sqrt(a * a + b * b) - 1) * np.minimum(width, height)
    return distance


def box(u: Field, v: Field, x: Number, y: Number, width: Number, height: Number) -> Field:
    """Distance to an upright rectangle with half sides `width` and `height`."""
    distance: Field = np.maximum(np.abs(u - x) - width, np.abs(v - y) - height)
    return distance


def wedge(u: Field, v: Field, x: Number, low: Number, high: Number, at_low: Number, at_high: Number) -> Field:
    """Distance to a trapezoid between heights `low` and `high`, its half width running from `at_low` to `at_high`."""
    share = (v - low) / (high - low)
    sides = np.abs(u - x) - (at_low + share * (at_high - at_low))
    ends = np.abs(v - (low + high) / 2) - (high - low) / 2
    distance: Field = np.maximum(sides, ends)
    return distance


def limb(u: Field, v: Field, x: Number, y: Number, to_x: Number, to_y: Number, radius: Number) -> Field:
    """Distance to a line of the given radius with round ends."""
    a, b = u - x, v - y
    run, rise = to_x - x, to_y - y
    share = np.clip((a * run + b * rise) / (run * run + rise * rise), 0, 1)
    a, b = a - share * run, b - share * rise
    distance: Field = np.sqrt(a * a + b * b) - radius
    return distance


def airplane(u: Field, v: Field, pick: Pick) -> Parts:
    """A long fuselage with swept wings, a tail fin and windows."""
    slim, sweep, span = pick(0.11, 0.18), pick(0.15, 0.45), pick(0.45, 0.8)
    return [
        (limb(u, v, 0.1, 0.05, -sweep, span, slim * 0.6), "trim"),
        (limb(u, v, -0.8, 0.0, -0.95, pick(0.3, 0.5), 0.08), "trim"),
        (ellipse(u, v, 0, 0, 0.95, slim), "body"),
        (limb(u, v, 0.1, -0.02, -sweep, -span, slim * 0.7), "trim"),
        (box(u, v, 0.62, 0.04, 0.1, slim * 0.3), "light"),
    ]


def automobile(u: Field, v: Field, pick: Pick) -> Parts:
    """A low body, a cabin with windows in its middle, two wheels."""
    roof, back, wheel = pick(0.32, 0.5), pick(-0.2, 0.05), pick(0.16, 0.22)
    return [
        (wedge(u, v, back, 0.0, roof, 0.6, pick(0.3, 0.45)), "body"),
        (wedge(u, v, back, 0.06, roof - 0.08, 0.48, 0.3), "light"),
        (box(u, v, 0, -0.12, 0.92, pick(0.16, 0.22)), "body"),
        (ellipse(u, v, -0.52, -0.34, wheel, wheel), "dark"),
        (ellipse(u, v, 0.54, -0.34, wheel, wheel), "dark"),
    ]


def bird(u: Field, v: Field, pick: Pick) -> Parts:
    """A round body with head and beak, a raised or lowered wing, a tail."""
    head_x, head_y, beat = pick(0.45, 0.6), pick(0.2, 0.4), pick(-0.1, 0.75)
    return [
        (limb(u, v, -0.4, 0, -0.9, pick(-0.2, 0.15), pick(0.07, 0.13)), "trim"),
        (wedge(u, v, head_x + 0.28, head_y - 0.08, head_y + 0.08, 0.2, 0.05), "light"),
        (ellipse(u, v, 0, 0, pick(0.48, 0.6), pick(0.24, 0.36)), "body"),
        (ellipse(u, v, head_x, head_y, 0.2, 0.19), "body"),
        (limb(u, v, -0.05, 0.05, -0.3, beat, pick(0.1, 0.18)), "trim"),
        (limb(u, v, 0.0, -0.3, 0.02, -0.6, 0.035), "dark"),
        (ellipse(u, v, head_x + 0.06, head_y + 0.05, 0.05, 0.05), "dark"),
    ]


def cat(u: Field, v: Field, pick: Pick) -> Parts:
    """A round head with two pointed ears on a sitting body, a thin raised tail."""
    head_y, ear, width = pick(0.2, 0.35), pick(0.2, 0.36), pick(0.36, 0.46)
    top = head_y + 0.22
    return [
        (limb(u, v, -0.3, -0.6, -0.75, pick(-0.5, 0.3), 0.07), "trim"),
        (ellipse(u, v, 0, -0.5, pick(0.36, 0.48), 0.45), "body"),
        (wedge(u, v, -width * 0.65, top, top + ear, 0.17, 0.01), "trim"),
        (wedge(u, v, width * 0.65, top, top + ear, 0.17, 0.01), "trim"),
        (ellipse(u, v, 0, head_y, width, pick(0.3, 0.37)), "body"),
        (ellipse(u, v, -0.16, head_y + 0.05, 0.07, 0.07), "dark"),
        (ellipse(u, v, 0.16, head_y + 0.05, 0.07, 0.07), "dark"),
    ]


def dog(u: Field, v: Field, pick: Pick) -> Parts:
    """A longer head with hanging ears and a light muzzle on a sitting body, a short thick tail."""
    head_y, drop, width = pick(0.2, 0.35), pick(0.2, 0.42), pick(0.32, 0.42)
    return [
        (limb(u, v, -0.3, -0.6, -0.6, pick(-0.55, -0.2), 0.1), "body"),
        (ellipse(u, v, 0, -0.5, pick(0.36, 0.48), 0.45), "body"),
        (ellipse(u, v, 0, head_y, width, pick(0.34, 0.42)), "body"),
        (limb(u, v, -width, head_y + 0.2, -width - 0.08, head_y + 0.2 - drop, 0.11), "trim"),
        (limb(u, v, width, head_y + 0.2, width + 0.08, head_y + 0.2 - drop, 0.11), "trim"),
        (ellipse(u, v, 0, head_y - 0.2, 0.2, 0.16), "light"),
        (ellipse(u, v, 0, head_y - 0.14, 0.08, 0.06), "dark"),
        (ellipse(u, v, -0.15, head_y + 0.1, 0.06, 0.06), "dark"),
        (ellipse(u, v, 0.15, head_y + 0.1, 0.06, 0.06), "dark"),
    ]


def deer(u: Field, v: Field, pick: Pick) -> Parts:
    """A slender body on thin legs, an upright neck, branching antlers."""
    head_x, head_y, antler = pick(0.55, 0.7), pick(0.42, 0.55), pick(0.2, 0.4)
    return [
        *_legs(u, v, pick, radius=0.055),
        (ellipse(u, v, -0.05, -0.08, pick(0.5, 0.6), pick(0.2, 0.27)), "body"),
        (limb(u, v, 0.38, 0, head_x - 0.05, head_y, pick(0.08, 0.13)), "body"),
        (ellipse(u, v, head_x + 0.1, head_y, 0.2, 0.11), "body"),
        (limb(u, v, head_x, head_y + 0.1, head_x - 0.16, head_y + 0.1 + antler, 0.04), "trim"),
        (limb(u, v, head_x + 0.03, head_y + 0.1, head_x + 0.2, head_y + 0.1 + antler, 0.04), "trim"),
        (limb(u, v, head_x - 0.08, head_y + 0.25, head_x - 0.3, head_y + 0.3, 0.03), "trim"),
    ]


def horse(u: Field, v: Field, pick: Pick) -> Parts:
    """A heavy body on strong legs, a thick sloping neck with a mane, a hanging tail."""
    head_x, head_y = pick(0.6, 0.75), pick(0.4, 0.58)
    return [
        (limb(u, v, -0.58, 0, pick(-0.85, -0.7), pick(-0.6, -0.35), 0.09), "trim"),
        *_legs(u, v, pick, radius=0.075),
        (ellipse(u, v, -0.05, -0.05, pick(0.54, 0.64), pick(0.25, 0.33)), "body"),
        (limb(u, v, 0.22, 0.15, head_x - 0.14, head_y + 0.14, 0.09), "trim"),
        (limb(u, v, 0.32, 0, head_x - 0.06, head_y, pick(0.14, 0.19)), "body"),
        (limb(u, v, head_x - 0.04, head_y + 0.02, head_x + 0.2, head_y - 0.14, 0.11), "body"),
    ]


def frog(u: Field, v: Field, pick: Pick) -> Parts:
    """A wide flat body, bulging eyes on top, bent hind legs."""
    height, eye = pick(0.34, 0.46), pick(0.13, 0.19)
    return [
        (limb(u, v, -0.5, -0.25, -0.9, pick(-0.5, -0.2), 0.13), "trim"),
        (limb(u, v, 0.5, -0.25, 0.9, pick(-0.5, -0.2), 0.13), "trim"),
        (ellipse(u, v, 0, -0.12, pick(0.62, 0.74), height), "body"),
        (ellipse(u, v, -0.3, height - 0.12, eye, eye), "body"),
        (ellipse(u, v, 0.3, height - 0.12, eye, eye), "body"),
        (ellipse(u, v, 0, -0.28, 0.42, 0.12), "light"),
        (ellipse(u, v, -0.3, height - 0.1, eye * 0.5, eye * 0.5), "dark"),
        (ellipse(u, v, 0.3, height - 0.1, eye * 0.5, eye * 0.5), "dark"),
    ]


def ship(u: Field, v: Field, pick: Pick) -> Parts:
    """A hull wider at the deck, a superstructure, a mast or funnel."""
    deck, bridge, tower = pick(-0.2, 0.0), pick(-0.4, 0.2), pick(0.2, 0.4)
    return [
        (box(u, v, bridge, deck + tower + 0.15, pick(0.04, 0.1), 0.22), "dark"),
        (box(u, v, bridge, deck + tower / 2, pick(0.2, 0.45), tower / 2), "light"),
        (wedge(u, v, 0, deck - pick(0.28, 0.42), deck, pick(0.5, 0.7), 0.95), "body"),
        (box(u, v, 0, deck - 0.06, 0.9, 0.05), "trim"),
    ]


def truck(u: Field, v: Field, pick: Pick) -> Parts:
    """A tall cargo box behind a lower cab, three wheels."""
    top, wheel = pick(0.42, 0.62), pick(0.14, 0.19)
    return [(box(u, v, -0.25, top - 0.42, 0.65, 0.42), "trim"), *_cab_and_wheels(u, v, pick, wheel)]


def tanker(u: Field, v: Field, pick: Pick) -> Parts:
    """The new kind of truck: a round tank in two colours in place of the cargo box."""
    height, wheel = pick(0.26, 0.34), pick(0.14, 0.19)
    return [
        (ellipse(u, v, -0.28, 0.08, 0.68, height), "light"),
        (box(u, v, -0.28, 0.08, 0.62, height * 0.25), "body"),
        (box(u, v, -0.28, 0.08 + height, 0.1, 0.06), "dark"),
        *_cab_and_wheels(u, v, pick, wheel),
    ]


def _cab_and_wheels(u: Field, v: Field, pick: Pick, wheel: Field) -> Parts:
    roof = pick(0.14, 0.32)
    return [
        (box(u, v, 0.66, (roof - 0.36) / 2, 0.26, (roof + 0.36) / 2), "body"),
        (box(u, v, 0.74, roof - 0.16, 0.14, 0.1), "light"),
        (box(u, v, 0, -0.34, 0.92, 0.07), "dark"),
        (ellipse(u, v, -0.62, -0.44, wheel, wheel), "dark"),
        (ellipse(u, v, -0.22, -0.44, wheel, wheel), "dark"),
        (ellipse(u, v, 0.62, -0.44, wheel, wheel), "dark"),
    ]


def _legs(u: Field, v: Field, pick: Pick, radius: float) -> Parts:
    """Front and hind legs, each a pair in stride."""
    stride = pick(0.0, 0.25)
    return [
        (limb(u, v, x, -0.2, x + side * stride, -0.82, radius), "body")
        for x in (-0.42, 0.34)
        for side in (-1, 1)
    ]


SHAPES: tuple[Shape, ...] = (
    airplane,
    automobile,
    bird,
    cat,
    deer,
    dog,
    frog,
    horse,
    ship,
    truck,
)
