"""How often the gate is wrong, and how often it decides: simulated candidates with a known true difference.

python -m benchmarks.gate [--quick] --out FILE

Beside it the two habits it replaces: promote whatever scores higher, and compare two separate intervals.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from cifarops.budgets import POLICY, load_budgets
from cifarops.evaluation.compare import compare, tail
from cifarops.evaluation.evidence import Answers, Suite, SuiteName, compare_classes
from cifarops.evaluation.gate import judge
from cifarops.evaluation.metrics import wilson
from cifarops.evaluation.multiplicity import spent
from cifarops.evaluation.requirements import Pair, non_inferior, superior, unharmed

_BUDGETS = load_budgets(harness.ROOT / POLICY, "fast")
_DIFFERENCES = (-0.01, -0.005, 0.0, 0.005, 0.01, 0.02)
_IMAGES = (1000, 2000, 10_000)
_DISCORDANCE = 0.08
_BOTH_RIGHT = 0.88
_LOOKS = 20
_NAMES: tuple[SuiteName, ...] = ("test", "recent")


def main() -> None:
    """Simulate and write the document."""
    options = harness.arguments(str(__doc__))
    times = 300 if options.quick else 5000
    rng = np.random.default_rng(0)
    results = [
        _simulate(rng, difference, images, suites, times)
        for suites in (1, 2)
        for images in _IMAGES
        for difference in _DIFFERENCES
    ]
    harness.write(
        options.out,
        "gate",
        budgets=_BUDGETS.model_dump(),
        discordance=_DISCORDANCE,
        simulations=times,
        results=results,
        worst_false_promotion=max(row["gate"]["promote"] for row in results if row["difference"] <= 0),
        class_harm=[_harm(rng, points, times) for points in (0, 2, 5, 8)],
        lives=_lives(rng, times),
        judgement=_time_judgement(5 if options.quick else 20),
    )


def _simulate(
    rng: np.random.Generator, difference: float, images: int, suites: int, times: int
) -> dict[str, Any]:
    """Judge `times` candidates whose true difference on every suite is `difference`."""
    won, lost = (_DISCORDANCE + difference) / 2, (_DISCORDANCE - difference) / 2
    shares = [won, lost, _BOTH_RIGHT, 1 - won - lost - _BOTH_RIGHT]
    answers = {"promote": 0, "reject": 0, "inconclusive": 0}
    higher = apart = 0
    for counts in rng.multinomial(images, shares, size=(times, suites)).tolist():
        answers[_gate(counts, images)] += 1
        higher += all(won_ > lost_ for won_, lost_, *_ in counts)
        apart += all(_intervals_apart(count, images) for count in counts)
    return {
        "difference": difference,
        "images": images,
        "suites": suites,
        "gate": {answer: count / times for answer, count in answers.items()},
        "promoted if higher": higher / times,
        "promoted if intervals apart": apart / times,
    }


def _gate(counts: Sequence[Sequence[int]], images: int) -> str:
    level = spent(_BUDGETS.alpha, 1)
    pairs = [
        Pair(name, compare(won, lost, images, level, chances=len(counts)), level)
        for name, (won, lost, *_) in zip(_NAMES, counts, strict=False)
    ]
    findings = [superior(pairs), *(non_inferior(pair, _BUDGETS.margin) for pair in pairs)]
    states = {finding.state for finding in findings}
    return "reject" if "broken" in states else "inconclusive" if "open" in states else "promote"


def _harm(rng: np.random.Generator, points: int, times: int) -> dict[str, Any]:
    """Judge the classes of candidates that lose `points` in a hundred of one class, and gain them on the other nine.

    10,000 images of ten classes; the discordant ones as unevenly spread as errors are: four times as many in the
    hardest class as in the easiest. The class that pays is the hardest, where harm is the least easy to see.
    """
    level = spent(_BUDGETS.alpha, 1)
    discordance = _DISCORDANCE * np.linspace(0.4, 1.6, 10)
    gain = np.full(10, points / 900)
    gain[-1] = -points / 100
    won, lost = (np.maximum(discordance, np.abs(gain)) + gain) / 2, (
        np.maximum(discordance, np.abs(gain)) - gain
    ) / 2
    states = {"held": 0, "open": 0, "broken": 0}
    for _ in range(times):
        counts = [rng.multinomial(1000, [w, x, 1 - w - x]).tolist() for w, x in zip(won, lost, strict=True)]
        classes = compare_classes(
            [f"class {k}" for k in range(10)],
            [1000] * 10,
            [count[0] for count in counts],
            [count[1] for count in counts],
            alpha=level,
            margin=_BUDGETS.class_margin,
        )
        states[unharmed("test", classes, margin=_BUDGETS.class_margin, alpha=level).state] += 1
    return {
        "points": points,
        "caught": 1 - states["held"] / times,
        **{k: v / times for k, v in states.items()},
    }


def _lives(rng: np.random.Generator, times: int) -> dict[str, Any]:
    """Judge candidate after candidate, none of them better, on one test set: is any promoted by chance?"""
    promoted = uncorrected = 0
    for _ in range(times):
        counts = rng.multinomial(
            10_000, [_DISCORDANCE / 2, _DISCORDANCE / 2, 1 - _DISCORDANCE], _LOOKS
        ).tolist()
        chances = [tail(won, lost, 10_000, 0.0) for won, lost, _ in counts]
        promoted += any(p <= spent(_BUDGETS.alpha, look) for look, p in enumerate(chances, start=1))
        uncorrected += min(chances) <= _BUDGETS.alpha
    return {"looks": _LOOKS, "any promoted": promoted / times, "any without spending": uncorrected / times}


def _intervals_apart(count: Sequence[int], images: int) -> bool:
    won, lost, both, _ = count
    return wilson(both + won, images).low > wilson(both + lost, images).high


def _time_judgement(times: int) -> dict[str, Any]:
    """Time the whole judgement, calibration and all, on 10,000 images of ten classes."""
    rng = np.random.default_rng(1)
    labels = np.arange(10_000) % 10
    suite = Suite(
        "test",
        tuple(f"class {k}" for k in range(10)),
        labels,
        Answers(_logits(rng, labels)),
        Answers(_logits(rng, labels)),
    )
    return harness.summary(harness.sample(lambda: judge([suite], _BUDGETS), times), images=len(labels))


def _logits(rng: np.random.Generator, labels: NDArray[np.int64]) -> NDArray[np.float32]:
    return (rng.normal(0, 1, (len(labels), 10)) + 4 * np.eye(10)[labels]).astype(np.float32)


if __name__ == "__main__":
    main()
