"""How well models do on corrupted images: 15 corruptions of 5 severities, and shifts of scale, place and hue."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cifarops.data.corruptions import CORRUPTIONS, SEVERITIES, SHIFTS, corrupt
from cifarops.data.splits import stratified
from cifarops.errors import DataError
from cifarops.evaluation.metrics import Interval, normal_quantile
from cifarops.machine import usable_cores
from cifarops.progress import Progress, silent

_SEED = 0

Model = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
Cells = NDArray[np.bool_]


class CorruptionError(BaseModel):
    """Share of wrong answers under one corruption, by severity from 1 to 5; the incumbent's where there is one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    candidate: tuple[float, ...]
    incumbent: tuple[float, ...] | None


class Robustness(BaseModel):
    """Both models on corrupted images.

    Attributes:
        images: How many images were corrupted, each in every way.
        alpha: Chance with which each bound misses.
        corruptions: The fifteen of CIFAR-10-C.
        shifts: Those of scale, place and hue; not in the means.
        error: Mean corruption error of the candidate: the mean share of wrong answers over corruptions and severities.
        incumbent_error: The same of the incumbent.
        difference: Accuracy of the candidate minus the incumbent's, over corruptions and severities; images are what
            varies, so one image's 75 answers count as one observation.
        relative: The candidate's errors, summed over severities, as a multiple of the incumbent's, averaged over
            corruptions (the paper's measure, with the incumbent in AlexNet's place); None where the incumbent makes none.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int
    alpha: float
    corruptions: tuple[CorruptionError, ...]
    shifts: tuple[CorruptionError, ...]
    error: Interval
    incumbent_error: Interval | None
    difference: Interval | None
    relative: float | None


def sample(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Choose about `count` images, the same each time, of each class as large a share: their places, ascending."""
    if count >= len(labels):
        return np.arange(len(labels))
    return np.flatnonzero(stratified(labels, count / len(labels), np.random.default_rng(_SEED)))


def measure_robustness(
    models: Sequence[Model],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    alpha: float,
    progress: Progress = silent,
) -> Robustness:
    """Let the candidate, and the incumbent where there is one, answer every image corrupted in every way.

    Args:
        models: One or two functions from uint8 (N, S, S, 3) to logits (N, C); several threads call them at once.
        images: uint8 (N, S, S, 3).
        labels: int64 (N,).
        alpha: Chance with which each bound may miss.
        progress: Told about every corruption and severity.

    Raises:
        DataError: There are no images.
    """
    if not len(labels):
        raise DataError("There are 0 images to corrupt.", fix="Raise gate.robustness.images in policy.yaml.")
    names = [*CORRUPTIONS, *SHIFTS]
    right = np.empty((len(models), len(names), len(SEVERITIES), len(labels)), dtype=bool)

    def answer(cell: tuple[int, int]) -> None:
        corrupted = corrupt(images, names[cell[0]], severity=SEVERITIES[cell[1]], seed=_SEED)
        for place, model in enumerate(models):
            right[place, cell[0], cell[1]] = model(corrupted).argmax(axis=1) == labels

    cells = list(product(range(len(names)), range(len(SEVERITIES))))
    with ThreadPoolExecutor(usable_cores()) as pool:
        for done, _ in enumerate(pool.map(answer, cells), start=1):
            progress("corrupted images", done, len(cells))
    return summarise(right[0], right[1] if len(models) > 1 else None, alpha=alpha)


def summarise(candidate: Cells, incumbent: Cells | None, *, alpha: float) -> Robustness:
    """Summarise which answers were right.

    Args:
        candidate: bool (corruptions and shifts, 5, N), in their order.
        incumbent: The same of the incumbent, or None.
        alpha: Chance with which each bound may miss.
    """
    published = len(CORRUPTIONS)
    mine = candidate[:published].mean(axis=(0, 1))
    theirs = None if incumbent is None else incumbent[:published].mean(axis=(0, 1))
    rows = tuple(_errors(candidate, incumbent))
    return Robustness(
        images=candidate.shape[2],
        alpha=alpha,
        corruptions=rows[:published],
        shifts=rows[published:],
        error=_mean(1 - mine, alpha),
        incumbent_error=None if theirs is None else _mean(1 - theirs, alpha),
        difference=None if theirs is None else _mean(mine - theirs, alpha),
        relative=_relative(rows[:published]),
    )


def _errors(candidate: Cells, incumbent: Cells | None) -> Iterator[CorruptionError]:
    for place, name in enumerate([*CORRUPTIONS, *SHIFTS]):
        yield CorruptionError(
            name=name,
            candidate=_shares(~candidate[place]),
            incumbent=None if incumbent is None else _shares(~incumbent[place]),
        )


def _shares(wrong: Cells) -> tuple[float, ...]:
    return tuple(wrong.mean(axis=1).tolist())


def _relative(rows: Sequence[CorruptionError]) -> float | None:
    ratios = [sum(row.candidate) / sum(row.incumbent) for row in rows if row.incumbent and sum(row.incumbent)]
    return sum(ratios) / len(ratios) if len(ratios) == len(rows) else None


def _mean(values: NDArray[np.float64], alpha: float) -> Interval:
    """Return the mean over images with its normal bounds."""
    value = float(values.mean())
    half = (
        normal_quantile(1 - alpha) * float(values.std(ddof=1)) / len(values) ** 0.5
        if len(values) > 1
        else 1.0
    )
    return Interval(value=value, low=value - half, high=value + half)
