"""What the gate requires, one function for each requirement, each with three possible outcomes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from cifarops.config import GateParams
from cifarops.evaluation.compare import Comparison, images_needed, images_to_compare
from cifarops.evaluation.evidence import Measured, SuiteName

Pair = tuple[SuiteName, Comparison]


@dataclass(frozen=True)
class Finding:
    """What a requirement came to.

    Attributes:
        state: Held; broken, surely; or open, because the images don't tell.
        reason: A sentence with the numbers.
        needs: For an open one, about how many more images of which suite would settle it; empty where none would.
    """

    state: Literal["held", "broken", "open"]
    reason: str
    needs: dict[SuiteName, int] = field(default_factory=dict)


def superior(pairs: Sequence[Pair], params: GateParams) -> Finding:
    """The candidate is surely better on at least one suite."""
    won = [name for name, pair in pairs if pair.superiority_low > 0]
    seen = "; ".join(f"{name}: {_difference(pair)}" for name, pair in pairs)
    if won:
        return Finding("held", f"The candidate is surely better on {' and '.join(won)} ({seen}).")
    if all(pair.difference.high <= 0 for _, pair in pairs):
        return Finding("broken", f"The candidate is surely not better on any suite ({seen}).")
    needs = [
        (name, needed - pair.images)
        for name, pair in pairs
        if (needed := images_to_compare(pair, beyond=0.0, alpha=params.alpha / len(pairs)))
    ]
    nearest = sorted(needs, key=lambda need: need[1])[:1]
    return Finding("open", f"No suite shows that the candidate is better ({seen}).", _at_least_one(nearest))


def non_inferior(name: SuiteName, pair: Comparison, params: GateParams) -> Finding:
    """The candidate surely loses less than the margin on a suite."""
    seen = f"On {name} the candidate's accuracy differs by {_difference(pair)}"
    margin = f"the allowed loss of {_points(params.margin)}"
    if pair.difference.low > -params.margin:
        return Finding("held", f"{seen}: surely within {margin}.")
    if pair.difference.high < -params.margin:
        return Finding("broken", f"{seen}: surely beyond {margin}.")
    needed = images_to_compare(pair, beyond=-params.margin, alpha=params.alpha)
    needs = [(name, needed - pair.images)] if needed else []
    return Finding("open", f"{seen}: perhaps beyond {margin}.", _at_least_one(needs))


def accurate(test: Measured, params: GateParams) -> Finding:
    """A first model's accuracy is surely at or above the minimum."""
    share, least = test.accuracy, params.min_accuracy
    seen = (
        f"Accuracy on test is {share.value:.2%} ({share.low:.2%} to {share.high:.2%}, {test.images:,} images)"
    )
    if share.low >= least:
        return Finding("held", f"{seen}: surely at or above the minimum of {least:.1%}.")
    if share.high < least:
        return Finding("broken", f"{seen}: surely below the minimum of {least:.1%}.")
    needed = images_needed(
        share.value - least,
        deviation=math.sqrt(share.value * (1 - share.value)),
        deviation_at_bound=math.sqrt(least * (1 - least)),
        alpha=params.alpha / 2,
    )
    needs: list[tuple[SuiteName, int]] = [("test", needed - test.images)] if needed else []
    return Finding("open", f"{seen}: perhaps below the minimum of {least:.1%}.", _at_least_one(needs))


def calibrated(test: Measured, params: GateParams) -> Finding:
    """The calibration error is within the budget; the estimate errs upwards, so as it stands it is the careful one."""
    ece, most = test.ece, params.max_ece
    seen = f"Calibration error on test is {ece.value:.3f} ({ece.low:.3f} to {ece.high:.3f})"
    if ece.value <= most:
        return Finding("held", f"{seen}: within the budget of {most:.3f}.")
    if ece.low > most:
        return Finding("broken", f"{seen}: surely over the budget of {most:.3f}.")
    # The interval's half width shrinks with the square root of the images, until it no longer reaches the budget.
    needed = math.ceil(test.images * ((ece.value - ece.low) / (ece.value - most)) ** 2)
    return Finding(
        "open",
        f"{seen}: perhaps over the budget of {most:.3f}.",
        _at_least_one([("test", needed - test.images)]),
    )


def _at_least_one(needs: Sequence[tuple[SuiteName, int]]) -> dict[SuiteName, int]:
    return {name: max(1, more) for name, more in needs}


def _difference(pair: Comparison) -> str:
    difference = pair.difference
    return (
        f"{_points(difference.value, sign=True)}, {_points(difference.low, sign=True)} to "
        f"{_points(difference.high, sign=True)}, {pair.images:,} images"
    )


def _points(share: float, *, sign: bool = False) -> str:
    return f"{100 * share:{'+' if sign else ''}.2f} points"
