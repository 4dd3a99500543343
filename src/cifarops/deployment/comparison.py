"""Is a version that runs beside the stable one as good? Judged anew at every look, by bounds that allow for all looks.

Four questions are asked, each with a bound of its own that is ever wrong with a chance of `alpha` / 4: does the canary fail
more often, is it slower, does it contradict the stable version, and is it right less often. A canary that is no worse is
rolled back with a chance of at most `alpha`, however often anyone looks; one that is worse by more than the limits allow
is promoted with a chance of at most `alpha`.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cifarops.config import CanaryParams
from cifarops.evaluation.metrics import Interval
from cifarops.evaluation.sequential import bounds
from cifarops.ledger.records import Attempts, Pairs

Advice = Literal["promote", "hold", "roll back"]
Finding = Literal["worse", "fine", "open"]
_QUESTIONS = 4


@dataclass(frozen=True)
class Aspect:
    """The answer to one question.

    Attributes:
        name: `errors`, `latency`, `disagreement` or `accuracy`.
        finding: Whether the second version is surely worse, surely within the limit, or neither yet.
        compared: How many comparisons it rests on.
        estimate: Errors and accuracy: second version minus stable one. Latency: share of comparisons in which it took more
            than `max_slowdown` times as long. Disagreement: share of requests with different answers.
        worse_beyond: On the wrong side of this it is worse.
        fine_within: On the right side of this it is fine.
    """

    name: str
    finding: Finding
    compared: int
    estimate: Interval
    worse_beyond: float
    fine_within: float

    def document(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(self), "estimate": self.estimate.model_dump()}

    def row(self) -> tuple[Any, ...]:
        """Return the cells of a table: name, finding, comparisons, estimate with its bounds, limit."""
        found = f"{self.estimate.value:+.3f} ({self.estimate.low:+.3f} to {self.estimate.high:+.3f})"
        return self.name, self.finding, self.compared, found, f"{self.fine_within:+.3f}"


@dataclass(frozen=True)
class Comparison:
    """What is known about a version beside the stable one.

    Attributes:
        verdict: What to do with it.
        message: Why, in one sentence.
        version: The second version.
        stable: The stable one.
        aspects: The answers.
    """

    verdict: Advice
    message: str
    version: int
    stable: int
    aspects: tuple[Aspect, ...]

    def document(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return {**asdict(self), "aspects": [each.document() for each in self.aspects]}


def compare_canary(
    version: int, stable: int, attempts: Attempts, pairs: Pairs, params: CanaryParams
) -> Comparison:
    """Judge a canary by what is recorded since it runs.

    Args:
        version: The canary.
        stable: The stable version.
        attempts: How requests fared with either.
        pairs: Requests that the canary answered and the stable version shadowed.
        params: Level and limits.
    """
    of_canary = attempts.versions == version
    known = of_canary | (attempts.versions == stable)
    timed = known & ~attempts.failed
    alpha = params.alpha / _QUESTIONS
    errors = _rises(of_canary[known], attempts.failed[known].astype(float))
    slower = _slower(of_canary[timed], attempts.seconds[timed], params.max_slowdown)
    aspects = (
        _aspect("errors", errors, alpha, (-1, 1), worse=0.0, fine=params.max_error_rise),
        _aspect("latency", slower, alpha, (0, 1), worse=0.5, fine=0.5),
        *compare_pairs(pairs, params),
    )
    return _judged(version, stable, aspects, params)


def compare_pairs(pairs: Pairs, params: CanaryParams) -> tuple[Aspect, Aspect]:
    """Answer the two questions about answers to the same images; for a canary, `pairs` as in `compare_canary`."""
    alpha = params.alpha / _QUESTIONS
    differs = (pairs.answered != pairs.shadowed).astype(float)
    labelled = pairs.truth >= 0
    right, other_right = (
        (labels[labelled] == pairs.truth[labelled]).astype(float)
        for labels in (pairs.answered, pairs.shadowed)
    )
    limit = params.max_disagreement
    return (
        _aspect("disagreement", differs, alpha, (0, 1), worse=limit, fine=limit),
        # Turned round, so that more is worse here as well.
        _turned(
            _aspect("accuracy", other_right - right, alpha, (-1, 1), worse=0.0, fine=params.max_accuracy_drop)
        ),
    )


def turned_round(pairs: Pairs) -> Pairs:
    """Return the same pairs seen from the shadow."""
    return Pairs(pairs.shadowed, pairs.answered, pairs.truth)


def _judged(version: int, stable: int, aspects: tuple[Aspect, ...], params: CanaryParams) -> Comparison:
    worse = [each.name for each in aspects if each.finding == "worse"]
    needed = [each for each in aspects if params.labels or each.name != "accuracy"]
    waiting = [each.name for each in needed if each.finding == "open"]
    verdict: Advice
    if worse:
        verdict, found = "roll back", f"is surely worse than version {stable}: {', '.join(worse)}."
    elif waiting:
        verdict, found = (
            "hold",
            f"is not worse than version {stable} so far; still open: {', '.join(waiting)}.",
        )
    else:
        verdict, found = "promote", f"is surely as good as version {stable} within the limits."
    return Comparison(verdict, f"Version {version} {found}", version, stable, aspects)


def _aspect(
    name: str,
    values: NDArray[np.float64],
    alpha: float,
    span: tuple[float, float],
    *,
    worse: float,
    fine: float,
) -> Aspect:
    estimate = bounds(values, alpha=alpha, low=span[0], high=span[1])
    finding: Finding = "worse" if estimate.low > worse else "fine" if estimate.high < fine else "open"
    return Aspect(name, finding, len(values), estimate, worse, fine)


def _turned(aspect: Aspect) -> Aspect:
    seen = aspect.estimate
    turned = Interval(value=-seen.value, low=-seen.high, high=-seen.low)
    return Aspect(
        aspect.name, aspect.finding, aspect.compared, turned, -aspect.worse_beyond, -aspect.fine_within
    )


def _rises(of_canary: NDArray[np.bool_], failed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return differences of error rates, canary minus stable, each of requests that no other one uses."""
    return np.array(
        [canary.mean() - stable.mean() for canary, stable in _groups(of_canary, failed)], np.float64
    )


def _slower(of_canary: NDArray[np.bool_], seconds: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """Return shares of comparisons in which the canary took more than `factor` times as long, grouped as in `_rises`."""
    return np.array(
        [
            (canary[:, None] > factor * stable[None, :]).mean()
            for canary, stable in _groups(of_canary, seconds)
        ],
        np.float64,
    )


def _groups(
    of_canary: NDArray[np.bool_], values: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield the values of both versions in groups: whenever one's value follows waiting ones of the other, all of them.

    Who gets a request does not depend on how it ends, so the expectation of each group's difference is that of the
    versions' rates, however the clients are shared out.
    """
    begin = 0
    for place in range(1, len(values)):
        if of_canary[place] != of_canary[place - 1] and place > begin:
            waiting, last = values[begin:place], values[place : place + 1]
            yield (last, waiting) if of_canary[place] else (waiting, last)
            begin = place + 1
