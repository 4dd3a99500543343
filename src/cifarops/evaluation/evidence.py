"""What was measured: one model on a split, and two models on the same split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cifarops.bundle.runtime import softmax
from cifarops.errors import DataError
from cifarops.evaluation.compare import Comparison, compare
from cifarops.evaluation.metrics import (
    ClassAccuracy,
    Interval,
    calibration_interval,
    check_scores,
    confusion,
    likelihood_interval,
    per_class_accuracy,
    wilson,
)

SuiteName = Literal["test", "recent"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Suite:
    """Images that both models have answered.

    Attributes:
        name: `test`, or `recent` for images that were answered in production and labelled later.
        classes: Class names; label k is `classes[k]`.
        labels: int64 (N,).
        candidate_logits: float32 (N, C).
        candidate_temperature: What the candidate's logits are divided by.
        incumbent_logits: float32 (N, C), or None where nothing is in production yet.
        incumbent_temperature: What the incumbent's logits are divided by.
    """

    name: SuiteName
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    candidate_logits: NDArray[np.float32]
    candidate_temperature: float = 1.0
    incumbent_logits: NDArray[np.float32] | None = None
    incumbent_temperature: float = 1.0


class Measured(_Frozen):
    """One model on one split.

    Attributes:
        images: How many.
        accuracy: Share of right answers, with Wilson's interval.
        per_class: The same for each class.
        confusion: Counts, rows true and columns predicted classes.
        ece: Expected calibration error of the calibrated probabilities.
        nll: Negative log likelihood in nats.
    """

    images: int
    accuracy: Interval
    per_class: tuple[ClassAccuracy, ...]
    confusion: tuple[tuple[int, ...], ...]
    ece: Interval
    nll: Interval


class SuiteEvidence(_Frozen):
    """Both models on one suite; `notes` says in sentences what limits what it can show."""

    name: SuiteName
    candidate: Measured
    incumbent: Measured | None
    comparison: Comparison | None
    notes: tuple[str, ...]


def measure(
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    temperature: float,
    classes: Sequence[str],
    alpha: float = 0.05,
    what: str = "the model",
) -> Measured:
    """Measure one model's answers; every interval has level 1 − `alpha`.

    Args:
        logits: float32 (N, C), uncalibrated.
        labels: int64 (N,).
        temperature: What the logits are divided by.
        classes: C class names.
        alpha: Chance of each interval missing.
        what: Named in messages.

    Raises:
        DataError: NaN or infinity, different lengths, labels or classes that don't fit, or no images.
    """
    check_scores(logits, labels, what)
    if logits.shape[1] != len(classes):
        raise DataError(
            f"{what}: {logits.shape[1]} logits an image for {len(classes)} classes.",
            fix="Evaluate on a snapshot with the classes that the model was trained on.",
        )
    predicted = logits.argmax(axis=1)
    probabilities = softmax(logits / np.float32(temperature))
    return Measured(
        images=len(labels),
        accuracy=wilson(int((predicted == labels).sum()), len(labels), alpha),
        per_class=per_class_accuracy(predicted, labels, classes, alpha),
        confusion=tuple(tuple(row) for row in confusion(predicted, labels, len(classes)).tolist()),
        ece=calibration_interval(probabilities, labels, alpha=alpha),
        nll=likelihood_interval(probabilities, labels, alpha),
    )


def gather(suite: Suite, *, alpha: float, suites: int) -> SuiteEvidence:
    """Measure both models on a suite and compare them.

    Args:
        suite: The answers.
        alpha: Level of the gate.
        suites: How many suites the gate looks at.

    Raises:
        DataError: See `measure`.
    """
    candidate = measure(
        suite.candidate_logits,
        suite.labels,
        temperature=suite.candidate_temperature,
        classes=suite.classes,
        alpha=alpha,
        what=f"The candidate on {suite.name}",
    )
    incumbent = comparison = None
    if suite.incumbent_logits is not None:
        incumbent = measure(
            suite.incumbent_logits,
            suite.labels,
            temperature=suite.incumbent_temperature,
            classes=suite.classes,
            alpha=alpha,
            what=f"The incumbent on {suite.name}",
        )
        won, lost = _discordant(suite.candidate_logits, suite.incumbent_logits, suite.labels)
        comparison = compare(won, lost, candidate.images, alpha, chances=suites)
    return SuiteEvidence(
        name=suite.name,
        candidate=candidate,
        incumbent=incumbent,
        comparison=comparison,
        notes=_notes(suite.name, candidate),
    )


def _notes(suite: SuiteName, measured: Measured) -> tuple[str, ...]:
    missing = ", ".join(row.name for row in measured.per_class if not row.images)
    return (f"On {suite} there is no image of {missing}: nothing is known about it.",) if missing else ()


def _discordant(
    candidate: NDArray[np.float32], incumbent: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[int, int]:
    """Count the images that the candidate alone, and that the incumbent alone gets right."""
    candidate_right = candidate.argmax(axis=1) == labels
    incumbent_right = incumbent.argmax(axis=1) == labels
    return int((candidate_right & ~incumbent_right).sum()), int((incumbent_right & ~candidate_right).sum())
