"""What each known corruption and defect does to a bundle's answers, and how far off the accuracy estimates are there.

Measured once per bundle on images of `valid`, and kept beside the bundles: it can be measured again at any time.
"""

from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cifarops.bundle.reference import Reference, load_reference
from cifarops.bundle.runtime import OnnxModel, softmax
from cifarops.bundle.store import Bundle
from cifarops.data.broken import DEFECTS, break_images
from cifarops.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from cifarops.data.snapshot import Snapshot
from cifarops.data.statistics import image_statistics
from cifarops.errors import DataError
from cifarops.files import write_atomic
from cifarops.monitoring.diagnosis import Cause
from cifarops.monitoring.estimate import Estimate, Estimator
from cifarops.monitoring.views import Views
from cifarops.progress import Progress, silent

_IMAGES = 300
_BATCH = 250
_THREADS = 2


class Shown(BaseModel):
    """What the model made of one corruption or defect.

    Attributes:
        severity: 1 to 5, or None where there is only one.
        moved: Mean views, (K,).
        accuracy: True accuracy, in [0, 1].
        estimate: What would have been estimated without labels.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["covariate shift", "broken input"]
    name: str
    severity: int | None
    moved: tuple[float, ...]
    accuracy: float
    estimate: Estimate

    def cause(self) -> Cause:
        """Return what a diagnosis compares with."""
        return Cause(self.kind, self.name, self.severity, np.array(self.moved, np.float32))


class Suite(BaseModel):
    """All of them.

    Attributes:
        digest: The bundle's.
        images: How many images of `valid` each was laid on.
        accuracy: Accuracy on `valid`, in [0, 1].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    digest: str
    images: int
    accuracy: float
    shown: tuple[Shown, ...]

    def errors(self, estimator: Literal["cbpe", "atc", "cott"]) -> tuple[float, float]:
        """Return the mean and the largest absolute error of an estimate over the corruptions, in [0, 1]."""
        found = [
            abs(getattr(each.estimate, estimator) - each.accuracy)
            for each in self.shown
            if each.kind == "covariate shift"
        ]
        return fmean(found), max(found)

    def causes(self) -> list[Cause]:
        """Return what a diagnosis compares with."""
        return [each.cause() for each in self.shown]


def measure_suite(bundle: Bundle, snapshot: Snapshot, *, folder: Path, progress: Progress = silent) -> Suite:
    """Show the packaged model every corruption in every severity, and every defect, and keep what it made of them.

    Args:
        bundle: The bundle.
        snapshot: The one it was trained on; images are drawn from its `valid` split.
        folder: Where the result is kept.
        progress: Told after every corruption.

    Raises:
        DataError: The snapshot has other classes.
    """
    if snapshot.classes != bundle.manifest.classes:
        raise DataError(
            f"Snapshot {snapshot.id} has other classes than bundle {bundle.digest[:12]}.",
            fix=f"Use the one that it was trained on: {bundle.manifest.snapshot}.",
        )
    temperature = bundle.manifest.temperature
    reference = load_reference(bundle)
    views = Views(reference, temperature, bundle.manifest.classes)
    known = reference.probabilities(temperature)
    estimator = Estimator.fitted(known, reference.labels)
    model = OnnxModel(bundle, threads=_THREADS)
    # The split may be sorted by class.
    chosen = np.sort(np.random.default_rng(0).permutation(len(reference))[:_IMAGES])
    images, labels = np.asarray(snapshot.images("valid")[chosen]), np.asarray(
        snapshot.labels("valid")[chosen]
    )
    wanted: list[tuple[str, int | None]] = [(name, level) for name in CORRUPTIONS for level in SEVERITIES]
    wanted += [(name, None) for name in DEFECTS]
    shown = []
    for done, (name, severity) in enumerate(wanted, start=1):
        changed = (
            break_images(images, name)
            if severity is None
            else corrupt(images, name, severity=severity, seed=0)
        )
        probabilities, traits = _answers(model, reference, changed, temperature)
        shown.append(
            Shown(
                kind="broken input" if severity is None else "covariate shift",
                name=name,
                severity=severity,
                moved=tuple(views(probabilities, traits).mean(axis=0).tolist()),
                accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
                estimate=estimator(probabilities),
            )
        )
        progress("robustness suite", done, len(wanted), name)
    suite = Suite(
        digest=bundle.digest,
        images=len(chosen),
        accuracy=float((known.argmax(axis=1) == reference.labels).mean()),
        shown=tuple(shown),
    )
    write_atomic(_path(folder, bundle), suite.model_dump_json().encode())
    return suite


def load_suite(folder: Path, bundle: Bundle) -> Suite | None:
    """Return what was measured for a bundle, or None where nothing usable is kept."""
    try:
        suite = Suite.model_validate_json(_path(folder, bundle).read_bytes())
    except (OSError, ValidationError):
        return None
    return suite if suite.digest == bundle.digest else None


def _path(folder: Path, bundle: Bundle) -> Path:
    return folder / f"suite-{bundle.digest[:12]}.json"


def _answers(
    model: OnnxModel, reference: Reference, images: NDArray[np.uint8], temperature: float
) -> tuple[NDArray[np.float32], NDArray[np.float16]]:
    outputs = list(model.outputs_in_batches(images, batch=_BATCH))
    logits: NDArray[np.float32] = np.concatenate([each for each, _ in outputs])
    features = np.concatenate([each for _, each in outputs])
    traits = np.hstack([reference.sketch(features), image_statistics(images).astype(np.float16)])
    calibrated: NDArray[np.float32] = logits / np.float32(temperature)
    return softmax(calibrated), traits
