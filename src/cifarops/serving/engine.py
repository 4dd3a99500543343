"""One version, loaded: from the bytes of an image file to probabilities."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarops.bundle.reference import load_sketch
from cifarops.bundle.runtime import OnnxModel, softmax
from cifarops.bundle.store import find_bundle
from cifarops.data.preprocess import MIN_SIDE, decode
from cifarops.errors import IntegrityError
from cifarops.machine import usable_cores
from cifarops.serving.calibration import calibrate
from cifarops.serving.sizes import MAX_PIXELS

Computed = Callable[[int, int, float], None]


def _unnoticed(version: int, images: int, seconds: float) -> None:
    """Count nothing."""


@dataclass(frozen=True)
class Outcome:
    """What the model says about one image.

    Attributes:
        label: Predicted class index.
        probabilities: Calibrated, float32 (C,).
        image: What the model saw before normalisation, uint8 (S, S, 3).
        sketch: The last features in a few numbers, float16 (P + 1,), for monitoring.
    """

    label: int
    probabilities: NDArray[np.float32]
    image: NDArray[np.uint8]
    sketch: NDArray[np.float16]


class Engine:
    """A version ready to answer, in the way that is fastest here; the first, slow calls are over when it is made.

    Args:
        bundles: Directory of bundles.
        digest: Which bundle.
        version: Its number in the registry.
        computed: Called with the version, a number of images and the seconds that the model took for them together.

    Attributes:
        size: Height and width of its input in pixels.
        classes: Names; probability k belongs to `classes[k]`.

    Raises:
        UsageError: There is no such bundle.
        IntegrityError: It is damaged, can't be loaded or doesn't answer as its manifest says.
    """

    def __init__(self, bundles: Path, digest: str, version: int, computed: Computed = _unnoticed) -> None:
        bundle = find_bundle(bundles, digest)
        self.version = version
        self._computed = computed
        self.digest = bundle.digest
        self.classes = bundle.manifest.classes
        self.size = bundle.manifest.preprocessing.size
        self._model = OnnxModel(bundle)
        self._temperature = np.float32(bundle.manifest.temperature)
        self._sketch = load_sketch(bundle)
        self._warm_up()
        self._model, self._together = calibrate(bundle, self._model, cores=usable_cores())

    def answer(self, content: bytes) -> Outcome:
        """Decode one image file and classify it. Any number of threads may call this at once.

        Raises:
            DataError: The file is no image, is damaged, has more than `MAX_PIXELS` pixels or a side of less than
                `MIN_SIDE`.
        """
        image = decode(content, self.size, max_pixels=MAX_PIXELS, min_side=MIN_SIDE).pixels
        return self.answer_pixels(image[None])[0]

    def answer_pixels(self, images: NDArray[np.uint8]) -> list[Outcome]:
        """Classify images of the model's own size, uint8 (N, size, size, 3), a few at a time to keep memory bounded."""
        outcomes: list[Outcome] = []
        for start in range(0, len(images), self._together):
            some = images[start : start + self._together]
            begun = time.perf_counter()
            logits, features = self._model.outputs(some)
            self._computed(self.version, len(some), time.perf_counter() - begun)
            probabilities = softmax(logits / self._temperature)
            outcomes += map(
                Outcome, probabilities.argmax(axis=1).tolist(), probabilities, some, self._sketch(features)
            )
        return outcomes

    def _warm_up(self) -> None:
        blank = np.zeros((1, self.size, self.size, 3), np.uint8)
        try:
            logits, features = self._model.outputs(blank)
            self._sketch(features)
        except Exception as error:  # ONNX Runtime raises a type of its own for each cause
            raise self._refused(f"it fails on an image of its own size ({error})") from error
        if logits.shape != (1, len(self.classes)) or not np.isfinite(logits).all():
            raise self._refused(f"its answer has shape {logits.shape} or is not finite")

    def _refused(self, what: str) -> IntegrityError:
        return IntegrityError(
            f"Version {self.version} (bundle {self.digest[:12]}) can't answer: {what}.",
            fix="Promote another version: cifarops registry list.",
        )
