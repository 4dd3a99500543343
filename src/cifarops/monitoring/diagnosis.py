"""What kind of drift it is: the newest predictions' mean views, explained by each cause that is known."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cifarops.evaluation.metrics import Interval
from cifarops.monitoring.class_mix import estimate_mix
from cifarops.monitoring.detectors import Sample

Kind = Literal["label shift", "covariate shift", "new content", "broken input"]
_SHRINKAGE = 0.1
_SPANS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_UNEXPLAINED = 0.25
_SHARES = (0.1, 1.0)


class Diagnosis(BaseModel):
    """The likeliest cause.

    Attributes:
        kind: Which kind of drift.
        cause: The corruption or defect it looks like, or the class whose share moved most; None for new content.
        severity: Of the corruption it looks like most.
        share: Estimated share of images that are so, in [0, 1].
        explained: How much of what moved the cause explains, in [0, 1].
        images: The newest images that were looked at: the drift has gone on for about so long, or longer.
        mix: Estimated share of each class, for a label shift.
        sentence: All that in one sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind
    cause: str | None
    severity: int | None
    share: float
    explained: float
    images: int
    mix: dict[str, Interval] | None = None
    sentence: str


@dataclass(frozen=True)
class Cause:
    """What a known change does to the views.

    Attributes:
        kind: `covariate shift` or `broken input`.
        name: Of the corruption or defect.
        severity: 1 to 5, or None where there is only one.
        moved: Mean views, float32 (K,).
    """

    kind: Kind
    name: str
    severity: int | None
    moved: NDArray[np.float32]


def diagnose(
    window: Sample,
    reference: Sample,
    labels: NDArray[np.int64],
    causes: Sequence[Cause],
    *,
    classes_moved: bool = False,
) -> Diagnosis:
    """Find the cause that explains best what moved.

    A cause shifts the mean views of the images it befalls; what a share of the images leaves is as far along the same
    way. Another class mix shifts them to a mean of the classes' means. Distances are in units of the views' covariance.
    What no cause explains is new content.

    Args:
        window: The newest predictions.
        reference: Those on `valid`.
        labels: True classes of the reference, (M,).
        causes: What the robustness suite has shown.
        classes_moved: Whether it was the predicted classes that raised the alarm: then a mix of classes that leaves no more
            than noise unexplained is the cause, also where the data are too few to compare it with others.
    """
    covariance = np.cov(reference.views.T).astype(np.float64)
    size = len(covariance)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * np.trace(covariance) / size * np.eye(size)
    whiten = np.linalg.inv(np.linalg.cholesky(shrunk)).T
    images = _span(window.views @ whiten)
    newest = window.newest(images)
    moved = newest.views.mean(axis=0) @ whiten
    mix = _mix(newest, reference, labels)
    shares = np.array([each.value for each in mix.values()])
    by_class = np.stack(
        [
            reference.views[labels == k].mean(axis=0) if (labels == k).any() else np.zeros(size)
            for k in range(len(shares))
        ]
    )
    total = float(moved @ moved)
    mixed = _rest(moved, shares @ by_class @ whiten) + (len(shares) - 1) * np.log(images) / images
    best, best_rest, best_share = None, np.inf, 0.0
    for cause in causes:
        way = cause.moved.astype(np.float64) @ whiten
        share = float(np.clip(moved @ way / (way @ way), *_SHARES))
        rest = _rest(moved, share * way) + np.log(images) / images
        if rest < best_rest:
            best, best_rest, best_share = cause, rest, share
    rest = min(mixed, best_rest)
    explained = float(np.clip(1 - rest / total, 0, 1))
    noise = 3 * size * (1 / images + 1 / len(labels))
    if rest > max(_UNEXPLAINED * total, noise) or (best is None and rest > mixed):
        return _new_content(explained, images)
    if best is None or mixed < best_rest or (classes_moved and mixed < noise):
        return _label_shift(mix, reference, labels, explained, images)
    return _known(best, best_share, explained, images)


def _span(whitened: NDArray[np.float64]) -> int:
    """Return how many of the newest images have moved most surely."""
    size = whitened.shape[1]
    spans = [span for span in _SPANS if span < len(whitened)] + [len(whitened)]
    sureness = [span * float((whitened[-span:].mean(axis=0) ** 2).sum()) - size for span in spans]
    return spans[int(np.argmax(sureness))]


def _rest(moved: NDArray[np.float64], explained: NDArray[np.float64]) -> float:
    return float(((moved - explained) ** 2).sum())


def _mix(window: Sample, reference: Sample, labels: NDArray[np.int64]) -> dict[str, Interval]:
    estimated = estimate_mix(window.predicted, reference.predicted, labels, len(window.classes))
    return dict(zip(window.classes, estimated, strict=True))


def _label_shift(
    mix: dict[str, Interval], reference: Sample, labels: NDArray[np.int64], explained: float, images: int
) -> Diagnosis:
    usual = np.bincount(labels, minlength=len(mix)) / len(labels)
    furthest = int(
        np.argmax([abs(each.value - share) for each, share in zip(mix.values(), usual, strict=True)])
    )
    name = reference.classes[furthest]
    now = mix[name]
    return Diagnosis(
        kind="label shift",
        cause=name,
        severity=None,
        share=1.0,
        explained=explained,
        images=images,
        mix=mix,
        sentence=(
            f"The mix of classes has changed: {name!r} is now {now.value:.0%} of the images"
            f" ({now.low:.0%} to {now.high:.0%}) instead of {usual[furthest]:.0%}."
        ),
    )


def _known(cause: Cause, share: float, explained: float, images: int) -> Diagnosis:
    name = cause.name.replace("_", " ")
    part = "the images" if share > 0.9 else f"about {share:.0%} of the images"
    looks = f"like {name} of severity {cause.severity}" if cause.severity else f"broken: {name}"
    return Diagnosis(
        kind=cause.kind,
        cause=cause.name,
        severity=cause.severity,
        share=share,
        explained=explained,
        images=images,
        sentence=f"{part[0].upper()}{part[1:]} look {looks}.",
    )


def _new_content(explained: float, images: int) -> Diagnosis:
    return Diagnosis(
        kind="new content",
        cause=None,
        severity=None,
        share=1.0,
        explained=explained,
        images=images,
        sentence="The images show something new: no known corruption, defect or mix of classes explains what moved.",
    )
