"""The `synthetic` source: ten classes drawn by the program from a seed, named as in CIFAR-10.

Pose, size, colour, texture, background and occlusion are random. A known share of images is ambiguous: two classes
drawn over each other, the label one of the two at even chance, so that no model can be right on more than half of them.
The same renderer shifts on command, and with the same seed a shifted image shows the same scene as the plain one.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from cifarops.config import DataParams
from cifarops.data.snapshot import SourceInfo
from cifarops.data.sources import scenes
from cifarops.data.sources.drawing import SHAPES, Field, Paint, Pick, Shape, tanker
from cifarops.data.sources.raw import RawImages
from cifarops.errors import UsageError
from cifarops.files import canonical_json
from cifarops.progress import Progress, silent

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHIFTS = ("fog", "night", "noise", "blur", "background", "new_truck")

# Counted up whenever the same parameters would draw other images.
VERSION = 1

_BLOCK = 500
_TRUCK = CLASSES.index("truck")
_NOISE = 0.03
# A ring in which every class has two neighbours that it can be mistaken for.
_NEXT = ("airplane", "bird", "frog", "cat", "dog", "deer", "horse", "truck", "automobile", "ship")
_RING = np.array([CLASSES.index(name) for name in _NEXT])
_LIGHT, _DARK = np.float32(0.9), np.float32(0.07)


def read_synthetic(params: DataParams, progress: Progress = silent) -> RawImages:
    """Draw the training and test images that `params` asks for, as many of each class as possible."""
    wanted = params.synthetic
    labels = np.concatenate([np.arange(count) % len(CLASSES) for count in (wanted.train, wanted.test)])
    rng = np.random.default_rng(params.seed)
    rng.shuffle(labels[: wanted.train])
    rng.shuffle(labels[wanted.train :])
    identity = {"version": VERSION, "seed": params.seed, "size": params.image_size, **wanted.model_dump()}
    return RawImages(
        images=render(
            labels, seed=params.seed, size=params.image_size, ambiguous=wanted.ambiguous, progress=progress
        ),
        labels=labels,
        names=[f"image {number}" for number in range(len(labels))],
        splits=np.repeat(["train", "test"], [wanted.train, wanted.test]),
        classes=CLASSES,
        source=SourceInfo(
            kind="synthetic",
            name=f"synthetic v{VERSION}",
            sha256=hashlib.sha256(canonical_json(identity)).hexdigest(),
        ),
    )


def render(
    labels: NDArray[np.int64],
    *,
    seed: int,
    size: int = 32,
    ambiguous: float = 0.05,
    shift: str | None = None,
    severity: float = 0.0,
    progress: Progress = silent,
) -> NDArray[np.uint8]:
    """Draw one image for each label.

    Args:
        labels: int64 (N,), in [0, 10): indices into `CLASSES`.
        seed: The same labels, seed and size give the same images on the same kind of machine.
        size: Height and width in pixels.
        ambiguous: Share of images in which a second class is drawn over the first.
        shift: One of `SHIFTS`: `fog`, `night` (dark, bluish), `noise` (of the camera), `blur` (out of focus),
            `background` (patterns never seen otherwise), `new_truck` (a tanker in place of the box truck).
        severity: How strong, in [0, 1]; for `new_truck`, the share of trucks of the new kind. At 0 nothing changes.
        progress: Told how far it is.

    Returns:
        uint8 (N, size, size, 3), RGB.

    Raises:
        UsageError: There is no such shift.
    """
    if shift is not None and shift not in SHIFTS:
        raise UsageError(f"There is no shift {shift!r}.", fix=f"Use one of: {', '.join(SHIFTS)}.")
    images = np.empty((len(labels), size, size, 3), dtype=np.uint8)
    for start in range(0, len(labels), _BLOCK):
        block = _Block(labels[start : start + _BLOCK], (seed, start // _BLOCK), size, shift, severity)
        images[start : start + _BLOCK] = block.draw(ambiguous)
        progress("drawing images", min(start + _BLOCK, len(labels)), len(labels))
    return images


class _Block:
    """Some hundred images drawn at once; every aspect has its own random stream, so that shifts don't move others."""

    def __init__(
        self, labels: NDArray[np.int64], seed: tuple[int, int], size: int, shift: str | None, severity: float
    ) -> None:
        self._labels = labels
        self._seed = seed
        self._size = size
        self._severity = {shift: severity}

    def draw(self, ambiguous: float) -> NDArray[np.uint8]:
        canvas = self._background()
        second, is_ambiguous = self._second_classes(ambiguous)
        over = canvas[:, is_ambiguous].copy()
        self._objects(canvas, self._labels, np.arange(len(self._labels)))
        self._objects(over, second[is_ambiguous], np.flatnonzero(is_ambiguous))
        canvas[:, is_ambiguous] = (canvas[:, is_ambiguous] + over) / 2
        self._occlude(canvas)
        return self._develop(canvas)

    def _background(self) -> scenes.Canvas:
        canvas = scenes.backgrounds(self._labels, self._size, self._rng("background"))
        severity = self._severity.get("background", 0.0)
        if severity:
            unseen = scenes.unseen_backgrounds(len(self._labels), self._size, self._rng("unseen"))
            canvas += np.float32(severity) * (unseen - canvas)
        return canvas

    def _second_classes(self, ambiguous: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        rng = self._rng("ambiguous")
        position = np.argsort(_RING)[self._labels]
        second = _RING[(position + rng.choice([-1, 1], len(position))) % len(_RING)]
        return second, rng.random(len(position)) < ambiguous

    def _objects(self, canvas: scenes.Canvas, labels: NDArray[np.int64], members: NDArray[np.int64]) -> None:
        """Draw objects of classes `labels` over a canvas; `members` are the canvas's images within the block."""
        colours = scenes.body_colours(self._labels, self._rng("colour"))[:, members]
        pose = self._pose()[:, members]
        is_new = (self._rng("kind").random(len(self._labels)) < self._severity.get("new_truck", 0.0))[members]
        for label, usual in enumerate(SHAPES):
            group = np.flatnonzero(labels == label)
            new = is_new[group] & (label == _TRUCK)
            for shape, is_kind in ((usual, ~new), (tanker, new)):
                chosen = group[is_kind]
                if len(chosen):
                    part = canvas[:, chosen]
                    pick = _picker(self._rng(f"{shape.__name__} {len(members)}"), is_kind)
                    _draw(part, shape, pose[:, chosen], colours[:, chosen], pick)
                    canvas[:, chosen] = part

    def _pose(self) -> Field:
        """Centre x, y, half size, cosine, sine and mirroring of each object: (6, N, 1, 1)."""
        rng = self._rng("pose")
        count = len(self._labels)
        angle = rng.normal(0, 0.17, count)
        pose = np.stack(
            [
                rng.uniform(-0.22, 0.22, count),
                rng.uniform(-0.22, 0.22, count),
                rng.uniform(0.55, 0.95, count),
                np.cos(angle),
                np.sin(angle),
                rng.choice([-1, 1], count),
            ]
        )
        return pose.astype(np.float32)[:, :, None, None]

    def _occlude(self, canvas: scenes.Canvas) -> None:
        """Put a bar in front of some objects."""
        rng = self._rng("occlusion")
        count = len(self._labels)
        x, y = scenes.grid(self._size)
        angle, offset, width, shade = (
            rng.uniform(low, high, (count, 1, 1)).astype(np.float32)
            for low, high in ((0, np.pi), (-0.5, 0.5), (0.05, 0.14), (0.1, 0.8))
        )
        distance = np.abs(x * np.cos(angle) + y * np.sin(angle) - offset) - width
        cover = np.clip(0.5 - distance * (self._size / 2), 0, 1)
        cover *= (rng.random((count, 1, 1)) < 0.2).astype(np.float32)
        scenes.paint(canvas, cover, np.broadcast_to(shade[:, 0, 0], (3, count)))

    def _develop(self, canvas: scenes.Canvas) -> NDArray[np.uint8]:
        """Apply the light, the shift and the camera's noise, and round to bytes."""
        rng = self._rng("camera")
        count = len(self._labels)
        gain, lift = rng.uniform([[0.7], [-0.1]], [[1.2], [0.1]], (2, count)).astype(np.float32)[
            ..., None, None
        ]
        canvas = canvas * gain + lift
        for name, filtered in scenes.FILTERS.items():
            severity = self._severity.get(name, 0.0)
            if severity:
                canvas = filtered(canvas, severity, self._rng(name))
        grain = _NOISE + 0.25 * self._severity.get("noise", 0.0)
        canvas = canvas + grain * rng.standard_normal(canvas.shape[1:], dtype=np.float32)
        return (canvas * 255).clip(0, 255).astype(np.uint8).transpose(1, 2, 3, 0)

    def _rng(self, aspect: str) -> np.random.Generator:
        return np.random.default_rng([*self._seed, *aspect.encode()])


def _picker(rng: np.random.Generator, wanted: NDArray[np.bool_]) -> Pick:
    """Draw for a whole group but hand out what is `wanted`, so that an object keeps its numbers in any company."""

    def pick(low: float, high: float) -> Field:
        share = rng.random((len(wanted), 1, 1), dtype=np.float32)[wanted]
        return (low + (high - low) * share).astype(np.float32)

    return pick


def _draw(canvas: scenes.Canvas, shape: Shape, pose: Field, body: scenes.Colours, pick: Pick) -> None:
    """Draw objects of one class over a canvas, in place."""
    size = canvas.shape[2]
    x, y = scenes.grid(size)
    centre_x, centre_y, scale, cosine, sine, mirrored = pose
    right, up = x - centre_x, y - centre_y
    u = (right * cosine + up * sine) * (mirrored / scale)
    v = (up * cosine - right * sine) / scale
    trim = (body * pick(0.45, 1.35)[:, 0, 0]).clip(0, 1)
    colours: dict[Paint, scenes.Colours] = {
        "body": body,
        "trim": trim,
        "dark": np.full_like(body, _DARK),
        "light": np.broadcast_to(_LIGHT * pick(0.8, 1.05)[:, 0, 0], body.shape),
    }
    pixels = scale * (size / 2)
    for distance, name in shape(u, v, pick):
        scenes.paint(canvas, np.clip(0.5 - distance * pixels, 0, 1), colours[name])
