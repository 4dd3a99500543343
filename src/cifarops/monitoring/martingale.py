"""A test that may be looked at after every image: bets on conformal ranks.

Each image is ranked, view by view, among the reference and all images before it. As long as production is exchangeable with
the reference, the ranks are independent and uniform, exactly and for a reference of any size, because the image is one more
draw among those it is ranked with (Vovk et al. 2005, "Algorithmic Learning in a Random World"; Vovk et al. 2021, "Retrain or
Not Retrain: Conformal Test Martingales for Change-Point Detection"). Money is bet on ranks that are not uniform: on small ones, on
large ones, on a class that is predicted more or less often. A bet multiplies its stake by a density with mean 1, so the
whole fortune is a martingale that starts at 1, and the chance that it ever reaches 1/α is at most α (Ville 1939),
however often and whenever one looks.

Fresh stakes are laid out all the time, more slowly as time goes on, so that a change that comes late still meets money.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cifarops.monitoring.views import Group

_BINS = 512  # over the 16 standard deviations that a view may take; ranks within one are drawn
_LEVELS = 1024  # of a rank
_BATCH = 64
_REACH = 8.0
_SLOWNESS = 1000.0  # images before stakes become rarer
_TIMES = (
    0.05,
    0.2,
    0.35,
    0.5,
    0.65,
    0.8,
    1.25,
    1.6,
    2.5,
    5.0,
)  # how much more often a class may come than in the reference

_Distribution = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_BETS: tuple[_Distribution, ...] = (
    np.sqrt,
    lambda u: 1 - np.sqrt(1 - u),
    lambda u: u**0.25,  # a few very small ranks, as where one image in ten has drifted
    lambda u: 1 - (1 - u) ** 0.25,
    lambda u: u + 0.9 * (u * u - u),
    lambda u: u - 0.9 * (u * u - u),
    lambda u: u + 0.35 * (u * u - u),
    lambda u: u - 0.35 * (u * u - u),
    lambda u: 2 / math.pi * np.arcsin(np.sqrt(u)),
    lambda u: u * u * (3 - 2 * u),
)


@dataclass(frozen=True)
class Alarm:
    """When the fortune reached its limit.

    Attributes:
        images: Images seen until then.
        shares: What each view had won of the fortune, in the order of views, then of classes; sums to less than 1.
    """

    images: int
    shares: tuple[float, ...]


class Martingale:
    """The fortune and everything it depends on. What it holds does not grow with the images seen.

    Args:
        views: The reference's views, float32 (N, K), standardised and finite.
        predicted: The reference's predicted classes, int64 (N,).
        groups: Of each view; every group gets the same money, and so do the predicted classes.
        classes: Number of classes.
        alpha: Chance that exchangeable images ever raise the alarm.
        seed: Decides ranks within ties.
    """

    def __init__(
        self,
        views: NDArray[np.float32],
        predicted: NDArray[np.int64],
        *,
        groups: Sequence[Group],
        classes: int,
        alpha: float,
        seed: int = 0,
    ) -> None:
        self.alpha = alpha
        self.images = 0
        self.fortune = 1.0
        self.peak = 1.0
        self.alarm: Alarm | None = None
        self._seed = seed
        self._classes = classes
        self._counts = _histogram(self._places(views, predicted))
        shares = np.bincount(predicted, minlength=classes) / len(predicted)
        self._tables = np.concatenate(
            [_tables([_BETS] * len(groups)), _tables([_class_bets(share) for share in shares])]
        ).reshape(-1, len(_BETS))
        self._rows = np.arange(len(groups) + classes)[:, None] * _LEVELS
        self._prior = _prior(groups, classes)
        self._stakes = np.zeros_like(self._prior)

    def see(self, views: NDArray[np.float32], predicted: NDArray[np.int64]) -> None:
        """Bet on the next images, up to the one that raises the alarm.

        Args:
            views: float32 (N, K), NaN where a view is missing: nothing is bet there.
            predicted: int64 (N,).
        """
        places = self._places(views, predicted)
        for start in range(0, len(places), _BATCH):
            if self.alarm is not None:
                return
            self._bet(np.ascontiguousarray(places[start : start + _BATCH].T))

    def to_bytes(self) -> bytes:
        """Return the state, to go on from another time."""
        buffer = io.BytesIO()
        alarm = [] if self.alarm is None else [self.alarm.images, *self.alarm.shares]
        progress = np.array([self.images, self.fortune, self.peak])
        np.savez_compressed(
            buffer, counts=self._counts, stakes=self._stakes, progress=progress, alarm=np.array(alarm)
        )
        return buffer.getvalue()

    def resume(self, state: bytes) -> Self:
        """Go on from a state of a martingale with the same reference.

        Raises:
            ValueError: It is no such state.
        """
        try:
            with np.load(io.BytesIO(state), allow_pickle=False) as stored:
                counts, stakes, progress, alarm = (
                    stored[name] for name in ("counts", "stakes", "progress", "alarm")
                )
        except (OSError, KeyError, EOFError) as error:
            raise ValueError(str(error)) from error
        if counts.shape != self._counts.shape or stakes.shape != self._stakes.shape:
            raise ValueError("it belongs to another reference")
        self._counts, self._stakes = counts, stakes
        self.images, self.fortune, self.peak = int(progress[0]), float(progress[1]), float(progress[2])
        self.alarm = Alarm(int(alarm[0]), tuple(alarm[1:].tolist())) if len(alarm) else None
        return self

    def _places(self, views: NDArray[np.float32], predicted: NDArray[np.int64]) -> NDArray[np.int16]:
        """Return the bin of every view and, for every class, whether it was predicted; −1 where a view is missing."""
        scaled = ((views + _REACH) * (_BINS / (2 * _REACH))).clip(0, _BINS - 1)
        bins = np.where(np.isnan(scaled), -1, scaled).astype(np.int16)
        return np.hstack([bins, (predicted[:, None] == np.arange(self._classes)).astype(np.int16)])

    def _bet(self, places: NDArray[np.int16]) -> None:
        """Bet on a batch, int16 (K, B)."""
        views, size = places.shape
        levels = (self._ranks(places) * _LEVELS).astype(np.int64).clip(0, _LEVELS - 1)
        gains = self._tables.take((levels + self._rows).T, axis=0)  # (B, K, A)
        gains[places.T < 0] = 1.0
        held, rest = _held_back(self.images), _held_back(self.images + size)
        grown = gains.reshape(size, -1)
        grown[0] *= (self._stakes + (held - rest) * self._prior).ravel()
        for row in range(1, size):  # numpy's cumprod takes twice the time
            grown[row] *= grown[row - 1]
        fortunes = rest + grown.sum(axis=1)
        at = int(np.argmax(fortunes >= 1 / self.alpha))
        if fortunes[at] >= 1 / self.alpha:
            won = grown[at].reshape(views, -1).sum(axis=1) / fortunes[at]
            self.alarm = Alarm(self.images + at + 1, tuple(won.tolist()))
            size = at + 1
        self.images += size
        self.fortune = float(fortunes[size - 1])
        self.peak = max(self.peak, float(fortunes[:size].max()))
        self._stakes = grown[size - 1].reshape(views, -1).copy()
        self._counts += _histogram(places[:, :size].T)

    def _ranks(self, places: NDArray[np.int16]) -> NDArray[np.float64]:
        """Return each image's randomised rank among the reference and the images before it, in [0, 1), (K, B)."""
        known = places >= 0
        bins = np.maximum(places, 0) + self._rows // _LEVELS * _BINS
        upto = np.cumsum(self._counts, axis=1)
        total = upto[:, -1:] + np.cumsum(known, axis=1) - known
        equal = self._counts.take(bins)
        before = np.tri(places.shape[1], k=-1, dtype=np.bool_)
        if not known.all():
            before = before & known[:, None, :]
        here, others = places[:, :, None], places[:, None, :]
        below = upto.take(bins) - equal + _count((others < here) & before)
        chance = np.random.default_rng((self._seed, self.images)).random(places.shape)
        ranks: NDArray[np.float64] = (below + chance * (equal + _count((others == here) & before) + 1)) / (
            total + 1
        )
        return ranks


def _count(pairs: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Count along the last axis, which is shorter than 256."""
    counts: NDArray[np.uint8] = np.add.reduce(pairs.view(np.uint8), axis=2, dtype=np.uint8)
    return counts


def _histogram(places: NDArray[np.int16]) -> NDArray[np.int64]:
    """Count bins, int16 (N, K) with −1 for missing: int64 (K, bins)."""
    views = places.shape[1]
    flat = places.astype(np.int64) + np.arange(views) * _BINS
    counts = np.bincount(flat[places >= 0], minlength=views * _BINS)
    return counts.reshape(views, _BINS)


def _held_back(images: int) -> float:
    """Return the share of the money that is not laid out after so many images."""
    return 1 / math.sqrt(1 + images / _SLOWNESS)


def _prior(groups: Sequence[Group], classes: int) -> NDArray[np.float64]:
    """Return the share of every new stake that each bet gets, (K, A)."""
    names = [*groups, *(["classes"] * classes)]
    shares = np.array([1 / (len(set(names)) * names.count(name)) for name in names])
    return np.repeat(shares[:, None] / len(_BETS), len(_BETS), axis=1)


def _tables(bets: Sequence[Sequence[_Distribution]]) -> NDArray[np.float64]:
    """Return the densities of bets at each level of the rank, float64 (K, levels, A); their mean is 1."""
    grid = np.linspace(0, 1, _LEVELS + 1)
    return np.stack([np.stack([np.diff(bet(grid)) * _LEVELS for bet in each], axis=1) for each in bets])


def _class_bets(share: float) -> list[_Distribution]:
    """Bet that a class comes more or less often than its share in the reference; its images have the highest ranks."""
    share = min(max(share, 1e-3), 1 - 1e-3)
    wanted = [min(times * share, 1 - 0.5 * (1 - share)) for times in _TIMES]
    return [_two_steps(1 - share, 1 - each) for each in wanted]


def _two_steps(border: float, below: float) -> _Distribution:
    """Return the distribution that gives [0, border] the chance `below`, and is uniform on both sides."""
    return lambda u: np.interp(u, [0, border, 1], [0, below, 1])
