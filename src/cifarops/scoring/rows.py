"""One row for each image, as text: CSV or JSON lines."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cifarops.scoring.images import Image

Format = Literal["csv", "jsonl"]
TEXTS = ("image", "label", "error")
_DIGITS = 6


class Rows:
    """Writes rows: image, label, confidence, error, and the probability of each class as `p_CLASS`.

    Args:
        classes: Class names.
        kind: Format of the text.
    """

    def __init__(self, classes: Sequence[str], kind: Format) -> None:
        self.columns = ("image", "label", "confidence", "error", *(f"p_{name}" for name in classes))
        self._classes = classes
        self._kind = kind

    def head(self) -> bytes:
        """Return what stands before the first row."""
        return self._csv([self.columns]) if self._kind == "csv" else b""

    def write(
        self, images: Sequence[Image], errors: Sequence[str | None], probabilities: NDArray[np.float32]
    ) -> bytes:
        """Return the rows of some images.

        Args:
            images: The images.
            errors: Why one could not be scored, or None.
            probabilities: Of those that could, in order, (M, C).
        """
        scored = iter(np.round(probabilities.astype(np.float64), _DIGITS).tolist())
        best = iter(probabilities.argmax(axis=1).tolist())
        rows = [
            (
                (image.name, None, None, error, *(None for _ in self._classes))
                if error is not None
                else self._scored(image.name, next(best), next(scored))
            )
            for image, error in zip(images, errors, strict=True)
        ]
        return self._csv(rows) if self._kind == "csv" else self._json(rows)

    def _scored(self, name: str, label: int, probabilities: list[float]) -> tuple[object, ...]:
        return name, self._classes[label], probabilities[label], None, *probabilities

    def _csv(self, rows: Sequence[Sequence[object]]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().encode(errors="backslashreplace")

    def _json(self, rows: Sequence[Sequence[object]]) -> bytes:
        lines = (json.dumps(dict(zip(self.columns, row, strict=True)), ensure_ascii=False) for row in rows)
        return "".join(line + "\n" for line in lines).encode(errors="backslashreplace")
