"""What monitoring compares with: the packaged model's answers on `valid`, and the traits of those images.

The traits of an image are a few numbers in half precision, kept with every prediction: a sketch of the network's last
features, then the pixel statistics. They are computed by the same functions here and where requests are answered.
"""

import io
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cifarops.bundle.runtime import softmax
from cifarops.bundle.store import Bundle
from cifarops.data.statistics import STATISTICS
from cifarops.errors import IntegrityError

DIRECTIONS = 16


@dataclass(frozen=True)
class Sketch:
    """A projection of the last features on the directions in which those of `valid` vary most.

    Attributes:
        mean: float32 (F,).
        directions: float32 (F, P), orthonormal columns.
    """

    mean: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def fitted(cls, features: NDArray[np.float32]) -> Self:
        """Find the principal directions of features, float32 (N, F)."""
        mean = features.mean(axis=0)
        centred = (features - mean).astype(np.float64)
        _, vectors = np.linalg.eigh(centred.T @ centred)
        strongest = vectors[:, ::-1][:, :DIRECTIONS]
        signs = np.sign(strongest[np.abs(strongest).argmax(axis=0), np.arange(strongest.shape[1])])
        return cls(mean, np.ascontiguousarray(strongest * signs, dtype=np.float32))

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float16]:
        """Return float16 (N, P + 1): the coordinates of features (N, F), and the length of what they leave out."""
        centred = features - self.mean
        coordinates = centred @ self.directions
        rest = np.einsum("nf,nf->n", centred, centred) - np.einsum("np,np->n", coordinates, coordinates)
        return np.column_stack([coordinates, np.sqrt(np.maximum(rest, 0))]).astype(np.float16)


@dataclass(frozen=True)
class Reference:
    """The answers and traits on `valid`.

    Attributes:
        logits: float32 (N, C), uncalibrated.
        labels: int64 (N,).
        traits: float16 (N, T): the sketch of the features, then `STATISTICS`.
        sketch: How features become traits.
    """

    logits: NDArray[np.float32]
    labels: NDArray[np.int64]
    traits: NDArray[np.float16]
    sketch: Sketch

    def __len__(self) -> int:
        return len(self.labels)

    def probabilities(self, temperature: float) -> NDArray[np.float32]:
        """Return the calibrated probabilities, float32 (N, C)."""
        return softmax(self.logits / np.float32(temperature))

    @property
    def trait_names(self) -> tuple[str, ...]:
        """What the columns of the traits are called."""
        directions = self.traits.shape[1] - len(STATISTICS) - 1
        return (*(f"feature {k + 1}" for k in range(directions)), "feature rest", *STATISTICS)

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            logits=self.logits,
            labels=self.labels,
            traits=self.traits,
            sketch_mean=self.sketch.mean,
            sketch_directions=self.sketch.directions,
        )
        return buffer.getvalue()


def load_reference(bundle: Bundle) -> Reference:
    """Read a bundle's reference.

    Raises:
        IntegrityError: It can't be read, lacks something or does not fit the bundle.
    """
    try:
        with np.load(bundle.reference_path, allow_pickle=False) as stored:
            reference = Reference(
                logits=stored["logits"],
                labels=stored["labels"],
                traits=stored["traits"],
                sketch=_sketch(stored),
            )
    except (OSError, ValueError, KeyError) as error:
        raise _refused(bundle, f"can't be read: {error}") from error
    if reference.logits.shape != (len(reference), len(bundle.manifest.classes)):
        raise _refused(bundle, f"has logits of shape {reference.logits.shape}")
    return reference


def load_sketch(bundle: Bundle) -> Sketch:
    """Read how a bundle's features become traits, without the rest of its reference.

    Raises:
        IntegrityError: It can't be read.
    """
    try:
        with np.load(bundle.reference_path, allow_pickle=False) as stored:
            return _sketch(stored)
    except (OSError, ValueError, KeyError) as error:
        raise _refused(bundle, f"can't be read: {error}") from error


def _sketch(stored: "np.lib.npyio.NpzFile") -> Sketch:
    return Sketch(stored["sketch_mean"], stored["sketch_directions"])


def _refused(bundle: Bundle, what: str) -> IntegrityError:
    return IntegrityError(
        f"The reference of bundle {bundle.digest[:12]} {what}.",
        fix="Package the run again: cifarops package.",
    )
