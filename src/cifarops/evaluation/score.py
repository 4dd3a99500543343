"""Letting packaged models answer images, and the report on `valid`."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from cifarops.bundle.runtime import OnnxModel
from cifarops.bundle.store import Bundle
from cifarops.data.preprocess import fit_pixels
from cifarops.data.snapshot import Snapshot, Split
from cifarops.errors import DataError
from cifarops.evaluation.evidence import Measured, measure
from cifarops.progress import Progress, silent

_THREADS = 2
_BATCH = 256


class EvaluationReport(BaseModel):
    """A bundle measured on a split that decides nothing.

    Attributes:
        bundle: Its digest.
        snapshot: Id of the snapshot.
        synthetic: Whether the program drew the images, so that every number must say so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str
    snapshot: str
    split: Split
    synthetic: bool
    measured: Measured

    def metrics(self) -> dict[str, float]:
        """Return the few numbers that are compared from run to run."""
        measured = self.measured
        return {"accuracy": measured.accuracy.value, "ece": measured.ece.value, "nll": measured.nll.value}


def evaluate_split(
    bundle: Bundle, snapshot: Snapshot, split: Split = "valid", progress: Progress = silent
) -> EvaluationReport:
    """Measure a bundle on a split. Never on `test`: a look at it belongs to the gate, which counts it.

    Raises:
        DataError: The split is `test`, or the classes differ.
    """
    if split == "test":
        raise DataError(
            "The test split is for the gate, which counts every look at it.",
            fix="Report on valid, or judge with: cifarops evaluate gate.",
        )
    check_classes(f"bundle {bundle.digest[:12]}", bundle.manifest.classes, snapshot)
    measured = measure(
        answers(bundle, snapshot.images(split), f"answer {split}", progress),
        np.asarray(snapshot.labels(split)),
        temperature=bundle.manifest.temperature,
        classes=snapshot.classes,
        what=f"Bundle {bundle.digest[:12]} on {split}",
    )
    return EvaluationReport(
        bundle=bundle.digest,
        snapshot=snapshot.id,
        split=split,
        synthetic=snapshot.is_synthetic,
        measured=measured,
    )


def answers(
    bundle: Bundle, images: NDArray[np.uint8], what: str, progress: Progress = silent
) -> NDArray[np.float32]:
    """Let the packaged model answer images, brought to its own size: uint8 (N, S, S, 3) to logits, float32 (N, C)."""
    model = OnnxModel(bundle, threads=_THREADS)
    logits = np.empty((len(images), len(bundle.manifest.classes)), np.float32)
    for start in range(0, len(images), _BATCH):
        stop = min(start + _BATCH, len(images))
        logits[start:stop] = model.logits(fitted(np.asarray(images[start:stop]), bundle))
        progress(what, stop, len(images))
    return logits


def fitted(images: NDArray[np.uint8], bundle: Bundle) -> NDArray[np.uint8]:
    """Bring images uint8 (N, S, S, 3) to the size that a bundle's model takes."""
    size = bundle.manifest.preprocessing.size
    if images.shape[1] == size:
        return images
    return np.stack([fit_pixels(Image.fromarray(image), size) for image in images])


def check_classes(who: str, classes: tuple[str, ...], snapshot: Snapshot) -> None:
    """Refuse a model whose classes are not the snapshot's.

    Raises:
        DataError: They differ; the message names each.
    """
    if classes == snapshot.classes:
        return
    missing = [name for name in snapshot.classes if name not in classes]
    unknown = [name for name in classes if name not in snapshot.classes]
    parts = [f"it lacks {', '.join(missing)}"] if missing else []
    parts += [f"it has {', '.join(unknown)} besides"] if unknown else []
    raise DataError(
        f"The classes of {who} are not those of snapshot {snapshot.id}: "
        f"{' and '.join(parts) or 'they stand in another order'}.",
        fix="Judge on a snapshot with the same classes; a model with new classes is a first model: --against none.",
    )
