"""What was measured: one model on a split, and two models on the same split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cifarops.bundle.runtime import softmax
from cifarops.errors import DataError
from cifarops.evaluation.compare import Comparison, bootstrap_interval, compare, difference_interval, tail
from cifarops.evaluation.metrics import (
    Bin,
    ClassAccuracy,
    Interval,
    calibration_interval,
    check_scores,
    confusion,
    likelihood_interval,
    per_class_accuracy,
    reliability,
    wilson,
)
from cifarops.evaluation.multiplicity import holm, spent

SuiteName = Literal["test", "recent", "confirmation"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Answers:
    """What a model answered.

    Attributes:
        logits: float32 (N, C), uncalibrated.
        temperature: What the logits are divided by.
        images: Identity of the N images, for example their SHA-256. Answers to other images can't be compared.
    """

    logits: NDArray[np.float32]
    temperature: float = 1.0
    images: str = ""


@dataclass(frozen=True)
class Suite:
    """Images that both models have answered.

    Attributes:
        name: `test`, `recent` for images that were answered in production and labelled later, or `confirmation` for the
            part of the test split that is kept until the rest has been looked at often.
        classes: Class names; label k is `classes[k]`.
        labels: int64 (N,).
        candidate: The candidate's answers.
        incumbent: The incumbent's, or None where nothing is in production yet.
        look: Which candidate it is that is judged on these images, from 1.
    """

    name: SuiteName
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    candidate: Answers
    incumbent: Answers | None = None
    look: int = 1


class Measured(_Frozen):
    """One model on one split.

    Attributes:
        images: How many.
        accuracy: Share of right answers, with Wilson's interval.
        per_class: The same for each class.
        confusion: Counts, rows true and columns predicted classes.
        ece: Expected calibration error of the calibrated probabilities.
        reliability: What it is made of.
        nll: Negative log likelihood in nats.
    """

    images: int
    accuracy: Interval
    per_class: tuple[ClassAccuracy, ...]
    confusion: tuple[tuple[int, ...], ...]
    ece: Interval
    reliability: tuple[Bin, ...]
    nll: Interval


class ClassComparison(_Frozen):
    """Both models on the images of one class.

    Attributes:
        name: The class.
        images: How many.
        only_candidate: Right by the candidate alone.
        only_incumbent: Right by the incumbent alone.
        difference: Candidate minus incumbent; each bound misses with a chance of at most alpha.
        harmless: Holm's adjusted p value of the loss being the class margin or more: small says it is not.
        harmed: Holm's adjusted p value of the loss being the class margin or less: small says it is more.
    """

    name: str
    images: int
    only_candidate: int
    only_incumbent: int
    difference: Interval
    harmless: float
    harmed: float


class SuiteEvidence(_Frozen):
    """Both models on one suite.

    Attributes:
        look: Which candidate it is that is judged on these images, from 1.
        alpha: What a claim on this suite may cost: the gate's level, less what earlier looks have spent.
        bootstrap: The same difference with a paired bootstrap: a second opinion that decides nothing.
        per_class: Both models on each class that has images.
        notes: What limits what the suite can show, in sentences.
    """

    name: SuiteName
    look: int
    alpha: float
    candidate: Measured
    incumbent: Measured | None
    comparison: Comparison | None
    bootstrap: Interval | None
    per_class: tuple[ClassComparison, ...]
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
        reliability=reliability(probabilities, labels),
        nll=likelihood_interval(probabilities, labels, alpha),
    )


def gather(suite: Suite, *, alpha: float, suites: int, class_margin: float) -> SuiteEvidence:
    """Measure both models on a suite and compare them.

    Args:
        suite: The answers.
        alpha: Level of the gate, over all looks.
        suites: On how many suites being better is enough.
        class_margin: Accuracy that may be lost on one class.

    Raises:
        DataError: The two models answered other images; or see `measure`.
    """
    level = spent(alpha, suite.look)
    candidate = _measured(suite, suite.candidate, "candidate", level)
    incumbent = comparison = bootstrap = None
    per_class: tuple[ClassComparison, ...] = ()
    if suite.incumbent is not None:
        incumbent = _measured(suite, suite.incumbent, "incumbent", level)
        if suite.candidate.images != suite.incumbent.images:
            raise DataError(
                f"On {suite.name} the candidate answered images {suite.candidate.images[:12] or 'of no name'} and the"
                f" incumbent {suite.incumbent.images[:12] or 'of no name'}.",
                fix="Let both models answer the same split of the same snapshot: cifarops evaluate gate.",
            )
        won, lost = _alone(suite.candidate, suite.incumbent, suite.labels)
        counts = int(won.sum()), int(lost.sum()), len(won), level
        comparison, bootstrap = compare(*counts, chances=suites), bootstrap_interval(*counts)
        per_class = _by_class(suite, won, lost, level, class_margin)
    return SuiteEvidence(
        name=suite.name,
        look=suite.look,
        alpha=level,
        candidate=candidate,
        incumbent=incumbent,
        comparison=comparison,
        bootstrap=bootstrap,
        per_class=per_class,
        notes=_notes(suite.name, candidate),
    )


def _measured(suite: Suite, answers: Answers, who: str, alpha: float) -> Measured:
    return measure(
        answers.logits,
        suite.labels,
        temperature=answers.temperature,
        classes=suite.classes,
        alpha=alpha,
        what=f"The {who} on {suite.name}",
    )


def _by_class(
    suite: Suite, won: NDArray[np.bool_], lost: NDArray[np.bool_], alpha: float, margin: float
) -> tuple[ClassComparison, ...]:
    images, gained, missed = (
        np.bincount(suite.labels[chosen], minlength=len(suite.classes)).tolist()
        for chosen in (slice(None), won, lost)
    )
    return compare_classes(suite.classes, images, gained, missed, alpha=alpha, margin=margin)


def compare_classes(
    classes: Sequence[str],
    images: Sequence[int],
    won: Sequence[int],
    lost: Sequence[int],
    *,
    alpha: float,
    margin: float,
) -> tuple[ClassComparison, ...]:
    """Compare two models on each class that has images, with Holm's correction over the classes.

    Args:
        classes: Their names.
        images: How many images each has.
        won: How many of them the candidate alone gets right.
        lost: How many the incumbent alone.
        alpha: Chance with which each bound of a difference may miss.
        margin: Accuracy that may be lost on one class.
    """
    counted = [row for row in zip(classes, images, won, lost, strict=True) if row[1]]
    harmless = holm([tail(gain, miss, n, -margin) for _, n, gain, miss in counted])
    harmed = holm([tail(miss, gain, n, margin) for _, n, gain, miss in counted])
    return tuple(
        ClassComparison(
            name=name,
            images=n,
            only_candidate=gain,
            only_incumbent=miss,
            difference=difference_interval(gain, miss, n, alpha),
            harmless=safe,
            harmed=harm,
        )
        for (name, n, gain, miss), safe, harm in zip(counted, harmless, harmed, strict=True)
    )


def _notes(suite: SuiteName, measured: Measured) -> tuple[str, ...]:
    missing = ", ".join(row.name for row in measured.per_class if not row.images)
    return (f"On {suite} there is no image of {missing}: nothing is known about it.",) if missing else ()


def _alone(
    candidate: Answers, incumbent: Answers, labels: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark the images that the candidate alone, and that the incumbent alone gets right."""
    mine = candidate.logits.argmax(axis=1) == labels
    theirs = incumbent.logits.argmax(axis=1) == labels
    return mine & ~theirs, theirs & ~mine
