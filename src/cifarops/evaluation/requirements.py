"""What the gate requires, one function for each requirement, each with three possible outcomes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from cifarops.budgets import Budgets, MachineBudget
from cifarops.bundle.manifest import Parity, Serving
from cifarops.evaluation.compare import Comparison, images_needed, images_to_compare
from cifarops.evaluation.costs import Costs
from cifarops.evaluation.evidence import ClassComparison, SuiteEvidence, SuiteName
from cifarops.evaluation.metrics import Interval
from cifarops.evaluation.robustness import Robustness

State = Literal["held", "broken", "open"]


@dataclass(frozen=True)
class Finding:
    """What a requirement came to.

    Attributes:
        state: Held; broken, surely; or open, because the evidence doesn't tell.
        reason: A sentence with the numbers.
        needs: For an open one, about how many more images of which suite would settle it; empty where none would.
    """

    state: State
    reason: str
    needs: dict[SuiteName, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """Both models on one suite, and the level of a claim there."""

    name: SuiteName
    comparison: Comparison
    alpha: float

    def images_to_tell(self, beyond: float, alpha: float) -> int | None:
        """Return how many images would show on which side of `beyond` the difference lies; None if no number would."""
        found = self.comparison
        return images_to_compare(
            found.only_candidate, found.only_incumbent, found.images, beyond=beyond, alpha=alpha
        )


def superior(pairs: Sequence[Pair]) -> Finding:
    """The candidate is surely better on at least one suite."""
    won = [pair.name for pair in pairs if pair.comparison.superiority_low > 0]
    seen = "; ".join(f"{pair.name}: {_difference(pair.comparison)}" for pair in pairs)
    if won:
        return Finding("held", f"The candidate is surely better on {' and '.join(won)} ({seen}).")
    if all(pair.comparison.difference.high <= 0 for pair in pairs):
        return Finding("broken", f"The candidate is surely not better on any suite ({seen}).")
    needs = [
        (pair.name, needed - pair.comparison.images)
        for pair in pairs
        if (needed := pair.images_to_tell(0.0, pair.alpha / len(pairs)))
    ]
    nearest = sorted(needs, key=lambda need: need[1])[:1]
    return Finding("open", f"No suite shows that the candidate is better ({seen}).", _at_least_one(nearest))


def non_inferior(pair: Pair, margin: float) -> Finding:
    """The candidate surely loses less than the margin on a suite."""
    comparison = pair.comparison
    seen = f"On {pair.name} the candidate's accuracy differs by {_difference(comparison)}"
    allowed = f"the allowed loss of {_points(margin)}"
    if comparison.difference.low > -margin:
        return Finding("held", f"{seen}: surely within {allowed}.")
    if comparison.difference.high < -margin:
        return Finding("broken", f"{seen}: surely beyond {allowed}.")
    needed = pair.images_to_tell(-margin, pair.alpha)
    needs = [(pair.name, needed - comparison.images)] if needed else []
    return Finding("open", f"{seen}: perhaps beyond {allowed}.", _at_least_one(needs))


def unharmed(name: SuiteName, classes: Sequence[ClassComparison], *, margin: float, alpha: float) -> Finding:
    """No class surely loses more than the class margin, and each surely loses less, by Holm's correction."""
    harmed = [each for each in classes if each.harmed <= alpha]
    unsure = [each for each in classes if each.harmless > alpha]
    allowed = f"the {_points(margin)} that a class may lose on {name}"
    if harmed:
        return Finding("broken", f"{_classes(harmed)} surely lost more than {allowed}.")
    if not unsure:
        worst = min(classes, key=lambda each: each.difference.value)
        return Finding("held", f"Every class surely lost less than {allowed}; the most: {_classes([worst])}.")
    total = sum(each.images for each in classes)
    more = max(_more_for_class(each, total, margin=margin, alpha=alpha) for each in unsure)
    needs: dict[SuiteName, int] = {name: more} if more else {}
    return Finding("open", f"{_classes(unsure)} perhaps lost more than {allowed}.", needs)


def accurate(suite: SuiteEvidence, least: float) -> Finding:
    """A first model's accuracy is surely at or above the minimum."""
    share, images = suite.candidate.accuracy, suite.candidate.images
    seen = f"Accuracy on {suite.name} is {share.value:.2%} ({share.low:.2%} to {share.high:.2%}, {images:,} images)"
    if share.low >= least:
        return Finding("held", f"{seen}: surely at or above the minimum of {least:.1%}.")
    if share.high < least:
        return Finding("broken", f"{seen}: surely below the minimum of {least:.1%}.")
    needed = images_needed(
        share.value - least,
        deviation=math.sqrt(share.value * (1 - share.value)),
        deviation_at_bound=math.sqrt(least * (1 - least)),
        alpha=suite.alpha / 2,
    )
    needs = [(suite.name, needed - images)] if needed else []
    return Finding("open", f"{seen}: perhaps below the minimum of {least:.1%}.", _at_least_one(needs))


def calibrated(suite: SuiteEvidence, most: float) -> Finding:
    """The calibration error is within the budget; the estimate errs upwards, so as it stands it is the careful one."""
    ece, images = suite.candidate.ece, suite.candidate.images
    seen = f"Calibration error on {suite.name} is {ece.value:.3f} ({ece.low:.3f} to {ece.high:.3f})"
    if ece.value <= most:
        return Finding("held", f"{seen}: within the budget of {most:.3f}.")
    if ece.low > most:
        return Finding("broken", f"{seen}: surely over the budget of {most:.3f}.")
    # The interval's half width shrinks with the square root of the images, until it no longer reaches the budget.
    needed = math.ceil(images * ((ece.value - ece.low) / (ece.value - most)) ** 2)
    return Finding(
        "open",
        f"{seen}: perhaps over the budget of {most:.3f}.",
        _at_least_one([(suite.name, needed - images)]),
    )


def robust(found: Robustness, budgets: Budgets) -> Finding:
    """The mean corruption error is within the budget, and surely not much larger than the incumbent's."""
    error, most, margin = found.error, budgets.robustness.max_error, budgets.robustness.margin
    seen = f"Mean corruption error is {error.value:.1%} ({error.low:.1%} to {error.high:.1%}, {found.images:,} images × 75)"
    if error.low > most:
        return Finding("broken", f"{seen}: surely over the budget of {most:.1%}.")
    if error.value > most:
        return Finding("open", f"{seen}: perhaps over the budget of {most:.1%}.")
    if found.difference is None:
        return Finding("held", f"{seen}: within the budget of {most:.1%}.")
    seen += f", accuracy there differs by {_interval(found.difference)}"
    allowed = f"the allowed loss of {_points(margin)}"
    if found.difference.low > -margin:
        return Finding("held", f"{seen}: surely within {allowed}.")
    if found.difference.high < -margin:
        return Finding("broken", f"{seen}: surely beyond {allowed}.")
    return Finding("open", f"{seen}: perhaps beyond {allowed}. Raise gate.robustness.images to tell.")


def affordable(costs: Costs, budget: MachineBudget) -> Finding:
    """Latency, size and memory are within their budgets on this machine; a busy machine alone rejects nothing."""
    seen = (
        f"One image takes {costs.median_ms:.2f} ms ({budget.latency_ms:g} allowed), the {costs.precision} model has"
        f" {costs.size_mb:.1f} MB ({budget.size_mb:g}) and a process with it needs {costs.memory_mb:.0f} MB ({budget.memory_mb:g})"
    )
    over = [
        name
        for name, value, most in (
            ("time", costs.fastest_ms, budget.latency_ms),
            ("size", costs.size_mb, budget.size_mb),
            ("memory", costs.memory_mb, budget.memory_mb),
        )
        if value > most
    ]
    if over:
        return Finding("broken", f"{seen}: over the budget for {' and '.join(over)}.")
    if costs.median_ms > budget.latency_ms:
        return Finding(
            "open", f"{seen}: perhaps over the budget for time, or the machine was busy. Judge again."
        )
    return Finding("held", f"{seen}: within the budgets.")


def faithful(parity: Parity, serving: Serving) -> Finding:
    """The packaged model answers as the trained network does, and int8, where it answers, as float32 does."""
    seen = (
        f"ONNX and the trained network differ by {parity.max_logit_difference:.2g} at most in a logit"
        f" ({parity.tolerance:g} allowed, {parity.images:,} images); {serving.precision} answers, and int8 gets"
        f" {_points(serving.difference, sign=True)} ({_points(serving.difference_low, sign=True)} to"
        f" {_points(serving.difference_high, sign=True)}) of float32's accuracy on valid"
    )
    return Finding("held" if parity.max_logit_difference <= parity.tolerance else "broken", f"{seen}.")


def _more_for_class(each: ClassComparison, images: int, *, margin: float, alpha: float) -> int:
    """Return about how many more images of the whole suite would settle one class; 0 where no number would."""
    needed = images_to_compare(
        each.only_candidate, each.only_incumbent, each.images, beyond=-margin, alpha=alpha
    )
    if needed is None:
        return 0
    return max(1, math.ceil((needed - each.images) * images / each.images))


def _at_least_one(needs: Sequence[tuple[SuiteName, int]]) -> dict[SuiteName, int]:
    return {name: max(1, more) for name, more in needs}


def _classes(found: Sequence[ClassComparison]) -> str:
    return "; ".join(f"{each.name} ({_interval(each.difference)}, {each.images:,} images)" for each in found)


def _difference(comparison: Comparison) -> str:
    return f"{_interval(comparison.difference)}, {comparison.images:,} images"


def _interval(difference: Interval) -> str:
    return ", ".join(
        (
            _points(difference.value, sign=True),
            f"{_points(difference.low, sign=True)} to {_points(difference.high, sign=True)}",
        )
    )


def _points(share: float, *, sign: bool = False) -> str:
    return f"{100 * share:{'+' if sign else ''}.2f} points"
