import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from cifarops.errors import DataError
from cifarops.evaluation.sequential import bounds, log_wealth

_ALPHA = 0.05


def bettor(values: list[float], mean: float, low: float) -> float:
    """The definition: twenty bettors, each with a twentieth of the wealth and a stake of its own, value by value."""
    wealths = [1 / 20] * 20
    for value in values:
        for k in range(20):
            stake = 0.95 * 2 ** (-k / 2) / (mean - low)
            wealths[k] *= 1 + stake * (value - mean)
    return sum(wealths)


@given(
    st.lists(st.sampled_from([-1.0, -0.25, 0.0, 0.5, 1.0]), min_size=1, max_size=60),
    st.floats(-0.9, 0.9),
)
def test_the_wealth_is_what_the_bettors_have(values: list[float], mean: float) -> None:
    assert log_wealth(values, mean, low=-1) == pytest.approx(math.log(bettor(values, mean, -1)), abs=1e-9)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=80), st.floats(-3, 3), st.floats(0.5, 4))
def test_bounds_lie_around_the_mean_turn_with_the_sign_and_scale_with_the_unit(
    values: list[float], shift: float, scale: float
) -> None:
    found = bounds(values, alpha=_ALPHA, low=-1, high=1)
    assert -1 <= found.low <= found.value <= found.high <= 1
    mirrored = bounds([-value for value in values], alpha=_ALPHA, low=-1, high=1)
    assert (-mirrored.high, -mirrored.low) == pytest.approx((found.low, found.high), abs=1e-9)
    low, high = shift - scale, shift + scale
    moved = [min(max(shift + scale * value, low), high) for value in values]
    other = bounds(moved, alpha=_ALPHA, low=low, high=high)
    assert (other.low, other.high) == pytest.approx(
        (shift + scale * found.low, shift + scale * found.high), abs=1e-6
    )


@pytest.mark.parametrize(("right", "n"), [(0, 20), (3, 400), (50, 100), (380, 400)])
def test_bounds_are_wider_than_those_of_a_single_look_but_not_much(right: int, n: int) -> None:
    values = [1.0] * right + [0.0] * (n - right)
    found = bounds(values, alpha=_ALPHA, low=0, high=1)
    once = binomtest(right, n).proportion_ci(1 - 2 * _ALPHA)
    assert found.low <= once.low
    assert once.high <= found.high
    assert found.high - found.low < 2.2 * (once.high - once.low)


@pytest.mark.parametrize(("kind", "mean"), [("rare", 0.01), ("even", 0.5), ("difference", 0.0)])
def test_looking_after_every_value_misses_the_mean_no_more_often_than_stated(kind: str, mean: float) -> None:
    rng = np.random.default_rng(0)
    runs, length = 600, 400
    if kind == "difference":
        values, low = rng.choice([-1.0, 0.0, 1.0], (runs, length), p=[0.1, 0.8, 0.1]), -1.0
    else:
        values, low = (rng.random((runs, length)) < mean).astype(float), 0.0
    stakes = 0.95 * 2.0 ** (-np.arange(20) / 2) / (mean - low)
    steps = np.log1p(stakes[:, None, None] * (values - mean)).cumsum(axis=2)
    wealth = np.logaddexp.reduce(steps, axis=0) - math.log(20)
    for run in (0, runs - 1):  # this is the function's own wealth, at two looks
        for look in (7, length):
            assert log_wealth(values[run, :look], mean, low=low) == pytest.approx(wealth[run, look - 1])
    ever = float((wealth.max(axis=1) >= -math.log(_ALPHA)).mean())
    assert ever <= _ALPHA + 3 * math.sqrt(_ALPHA * (1 - _ALPHA) / runs)


def test_nothing_seen_says_nothing_and_strange_values_are_refused() -> None:
    empty = bounds([], alpha=_ALPHA, low=-1, high=1)
    assert (empty.low, empty.value, empty.high) == (-1, 0, 1)
    for strange in (1.5, math.nan):
        with pytest.raises(DataError, match="don't lie in"):
            bounds([0.5, strange], alpha=_ALPHA, low=0, high=1)
