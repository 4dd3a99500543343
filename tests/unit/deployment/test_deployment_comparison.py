import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cifarops.config import CanaryParams
from cifarops.deployment.comparison import Aspect, Comparison, compare_canary, compare_pairs, turned_round
from cifarops.ledger.records import Attempts, Pairs

STABLE, CANARY = 1, 2
PARAMS = CanaryParams(
    alpha=0.01,
    max_error_rise=0.02,
    max_slowdown=1.5,
    max_disagreement=0.3,
    max_accuracy_drop=0.03,
    labels=True,
)


class World:
    """Requests drawn at random; the canary gets a tenth of them."""

    def __init__(
        self,
        n: int,
        *,
        errors: tuple[float, float] = (0.001, 0.001),
        slower: float = 1.0,
        right: tuple[float, float] = (0.9, 0.9),
        disagreement: float = 0.1,
        labelled: float = 1.0,
        share: float = 0.1,
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        of_canary = rng.random(n) < share
        failed = rng.random(n) < np.where(of_canary, errors[1], errors[0])
        seconds = rng.lognormal(-7, 0.4, n) * np.where(of_canary, slower, 1.0)
        self.attempts = Attempts(np.where(of_canary, CANARY, STABLE), failed, seconds)
        truth = np.zeros(int(of_canary.sum()), np.int64)
        self.pairs = _pairs(rng, truth, right, disagreement)
        self.pairs.truth[rng.random(len(truth)) >= labelled] = -1

    def judged(self, params: CanaryParams = PARAMS) -> Comparison:
        return compare_canary(CANARY, STABLE, self.attempts, self.pairs, params)


def _pairs(
    rng: np.random.Generator, truth: NDArray[np.int64], right: tuple[float, float], disagreement: float
) -> Pairs:
    """Two versions that contradict each other on a share of the images and are right as often as asked."""
    stable_right, canary_right = right
    alone = (disagreement + canary_right - stable_right) / 2
    kinds = rng.choice(3, len(truth), p=[alone, disagreement - alone, 1 - disagreement])
    both = (stable_right - (disagreement - alone)) / (1 - disagreement)
    together = np.where(rng.random(len(truth)) < both, 0, 1)
    answered = np.choose(kinds, [truth, truth + 1, together])
    shadowed = np.choose(kinds, [truth + 1, truth, together])
    return Pairs(answered, shadowed, truth.copy())


def finding(comparison: Comparison, name: str) -> str:
    return next(each.finding for each in comparison.aspects if each.name == name)


def test_a_canary_as_good_is_promoted_and_the_report_is_json() -> None:
    judged = World(30_000).judged()
    assert judged.verdict == "promote", judged
    assert {each.finding for each in judged.aspects} == {"fine"}
    document = json.loads(json.dumps(judged.document()))
    assert document["aspects"][0]["estimate"]["low"] < 0
    assert [len(each.row()) for each in judged.aspects] == [5] * 4


@pytest.mark.parametrize(
    ("harm", "aspect"),
    [
        ({"errors": (0.001, 0.2)}, "errors"),
        ({"slower": 4.0}, "latency"),
        ({"disagreement": 0.6, "right": (0.5, 0.5)}, "disagreement"),
        ({"right": (0.9, 0.8), "disagreement": 0.15}, "accuracy"),
    ],
)
def test_each_harm_is_found_and_named(harm: dict[str, object], aspect: str) -> None:
    judged = World(20_000, **harm).judged()  # type: ignore[arg-type]
    assert judged.verdict == "roll back", judged
    assert finding(judged, aspect) == "worse"
    assert aspect in judged.message


def test_without_evidence_it_is_held_and_labels_are_waited_for_where_asked() -> None:
    assert World(0).judged().verdict == "hold"
    few = World(500).judged()
    assert few.verdict == "hold"
    unlabelled = World(30_000, labelled=0.0)
    held = unlabelled.judged()
    assert (held.verdict, finding(held, "accuracy")) == ("hold", "open")
    assert "still open: accuracy" in held.message
    assert unlabelled.judged(PARAMS.model_copy(update={"labels": False})).verdict == "promote"


def test_labels_that_show_harm_count_also_where_none_are_waited_for() -> None:
    bad = World(20_000, right=(0.9, 0.75), disagreement=0.2)
    assert bad.judged(PARAMS.model_copy(update={"labels": False})).verdict == "roll back"


def test_an_equal_canary_is_hardly_ever_rolled_back_however_often_one_looks() -> None:
    for seed in range(15):
        world = World(4000, errors=(0.05, 0.05), disagreement=0.28, seed=seed, share=0.3)
        for n, m in zip(range(400, 4001, 400), itertools.count(100, 100), strict=False):
            attempts = Attempts(**{name: each[:n] for name, each in vars(world.attempts).items()})
            pairs = Pairs(**{name: each[:m] for name, each in vars(world.pairs).items()})
            judged = compare_canary(CANARY, STABLE, attempts, pairs, PARAMS)
            assert judged.verdict != "roll back", judged


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_every_request_is_compared_once_at_most(requests: list[tuple[bool, bool]]) -> None:
    of_canary = np.array([each[0] for each in requests], bool)
    failed = np.array([each[1] for each in requests], bool)
    versions = np.where(of_canary, CANARY, STABLE)
    errors = _aspect(versions, failed, "errors")
    canary, stable = int(of_canary.sum()), int((~of_canary).sum())
    assert errors.compared <= min(canary, stable)
    if canary and stable:
        assert errors.compared >= 1
    if not failed.any():
        assert errors.estimate.value == 0


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_the_differences_average_to_that_of_the_rates_whatever_the_share(share: float) -> None:
    world = World(40_000, errors=(0.1, 0.3), share=share)
    aspect = _aspect(world.attempts.versions, world.attempts.failed, "errors")
    assert aspect.estimate.value == pytest.approx(0.2, abs=0.03)


def test_the_shadow_is_seen_from_its_own_side() -> None:
    pairs = _pairs(np.random.default_rng(0), np.zeros(4000, np.int64), (0.9, 0.7), 0.25)
    worse, better = (compare_pairs(seen, PARAMS)[1] for seen in (pairs, turned_round(pairs)))
    assert (worse.finding, better.finding) == ("worse", "fine")
    assert worse.estimate.value == pytest.approx(-better.estimate.value)


def _aspect(versions: NDArray[np.int64], failed: NDArray[np.bool_], name: str) -> Aspect:
    attempts = Attempts(versions, failed, np.ones(len(versions)))
    nothing = np.empty(0, np.int64)
    judged = compare_canary(CANARY, STABLE, attempts, Pairs(nothing, nothing, nothing), PARAMS)
    return next(each for each in judged.aspects if each.name == name)
