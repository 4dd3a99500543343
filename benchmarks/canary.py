"""How often a canary that is no worse is rolled back, and how soon one that is worse, by simulation.

Beside the bounds of `deployment.comparison` stand two peers on the same requests: Fisher's exact test looked at once, at the
end, and the same test looked at as often as the bounds are. The second is what "watch the p value" amounts to.

python -m benchmarks.canary [--quick] --out FILE
"""

import statistics
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact

from benchmarks.harness import arguments, write
from cifarops.config import CanaryParams
from cifarops.deployment.comparison import compare_canary
from cifarops.ledger.records import Attempts, Pairs

_STABLE, _CANARY = 1, 2
_SHARE = 0.1
_PARAMS = CanaryParams(
    alpha=0.05,
    max_error_rise=0.01,
    max_slowdown=1.5,
    max_disagreement=0.3,
    max_accuracy_drop=0.02,
    labels=True,
)


@dataclass(frozen=True)
class World:
    """Two versions as they really are.

    Attributes:
        errors: Chance that a request fails, stable and canary.
        slowdown: How many times as long the canary takes.
        disagreement: Share of images on which they contradict each other.
        rise: Accuracy of the canary minus that of the stable version.
        harmful: Whether the canary should be rolled back; None: either verdict is right.
    """

    errors: tuple[float, float] = (0.002, 0.002)
    slowdown: float = 1.0
    disagreement: float = 0.08
    rise: float = 0.0
    harmful: bool | None = False


WORLDS = {
    "equal": World(),
    "equal, at the limits of speed and agreement": World(slowdown=1.5, disagreement=0.3),
    "equal, many errors": World(errors=(0.1, 0.1)),
    "better by 2 points": World(rise=0.02),
    "fails on 2 % more": World(errors=(0.002, 0.022), harmful=True),
    "fails on 10 % more": World(errors=(0.002, 0.102), harmful=True),
    "takes twice as long": World(slowdown=2.0, harmful=True),
    "contradicts 40 %": World(disagreement=0.4, harmful=True),
    "3 points less accurate": World(rise=-0.03, harmful=True),
    "10 points less accurate": World(rise=-0.1, disagreement=0.15, harmful=True),
}


def main() -> None:
    """Simulate every world many times; each canary is looked at again and again."""
    options = arguments("Canaries that are as good, and canaries that are not")
    runs, requests, every = (20, 20_000, 2000) if options.quick else (200, 40_000, 2000)
    worlds = {}
    for name, world in WORLDS.items():
        found = [_run(world, requests, every, seed) for seed in range(runs)]
        worlds[name] = _summary(world, found, runs)
    write(
        options.out,
        "canary",
        what=f"a tenth of the requests goes to the canary, every one of them is labelled; alpha {_PARAMS.alpha}",
        requests=requests,
        look_every=every,
        runs=runs,
        target_false_rollbacks=_PARAMS.alpha,
        worlds=worlds,
    )


def _summary(world: World, found: list[dict[str, Any]], runs: int) -> dict[str, Any]:
    at = {
        verdict: [each["canary_requests"] for each in found if each["verdict"] == verdict]
        for verdict in ("roll back", "promote")
    }
    return {
        "harmful": world.harmful,
        "rolled_back": len(at["roll back"]) / runs,
        "promoted": len(at["promote"]) / runs,
        "median_canary_requests_to_rollback": statistics.median(at["roll back"]) if at["roll back"] else None,
        "median_canary_requests_to_promotion": statistics.median(at["promote"]) if at["promote"] else None,
        "fisher_at_every_look": sum(each["fisher_ever"] for each in found) / runs,
        "fisher_once": sum(each["fisher_once"] for each in found) / runs,
    }


def _run(world: World, requests: int, every: int, seed: int) -> dict[str, Any]:
    """Let one canary run until there is a verdict; the peers look at errors all the time."""
    rng = np.random.default_rng(seed)
    of_canary = rng.random(requests) < _SHARE
    failed = rng.random(requests) < np.where(of_canary, world.errors[1], world.errors[0])
    seconds = rng.lognormal(-7, 0.3, requests) * np.where(of_canary, world.slowdown, 1.0)
    versions = np.where(of_canary, _CANARY, _STABLE)
    pairs = _pairs(world, rng, int(of_canary.sum()))
    verdict, decided, p_values = "hold", requests, []
    for look in range(every, requests + 1, every):
        p_values.append(_fisher(of_canary[:look], failed[:look]))
        if verdict == "hold":
            given = int(of_canary[:look].sum())
            attempts = Attempts(versions[:look], failed[:look], seconds[:look])
            seen = Pairs(pairs.answered[:given], pairs.shadowed[:given], pairs.truth[:given])
            verdict, decided = compare_canary(_CANARY, _STABLE, attempts, seen, _PARAMS).verdict, look
    return {
        "verdict": verdict,
        "canary_requests": int(of_canary[:decided].sum()),
        "fisher_ever": min(p_values) < _PARAMS.alpha,
        "fisher_once": p_values[-1] < _PARAMS.alpha,
    }


def _pairs(world: World, rng: np.random.Generator, n: int) -> Pairs:
    """Draw answers of both versions to the same images; where they differ, one of the two is right."""
    gain = (world.disagreement + world.rise) / 2
    kind = rng.choice(3, n, p=[gain, world.disagreement - gain, 1 - world.disagreement])
    return Pairs(np.choose(kind, [0, 1, 0]), np.choose(kind, [1, 0, 0]), np.zeros(n, np.int64))


def _fisher(of_canary: NDArray[np.bool_], failed: NDArray[np.bool_]) -> float:
    """Return the one-sided p value for the canary failing more often."""
    table = np.array([[(failed & side).sum(), (~failed & side).sum()] for side in (of_canary, ~of_canary)])
    return float(fisher_exact(table, alternative="greater").pvalue)


if __name__ == "__main__":
    main()
