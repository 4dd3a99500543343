import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from cifarops.monitoring import ks
from cifarops.monitoring.ks import ks_distance, ks_p_value


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 120), st.integers(1, 120), st.floats(0, 1.5), st.integers(0, 10_000))
def test_statistic_and_exact_p_value_equal_scipys(n: int, m: int, shift: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.normal(shift, 1, n), rng.normal(0, 1, m)
    expected = stats.ks_2samp(first, second, method="exact")
    distance = ks_distance(first, second)
    assert distance / (n * m) == pytest.approx(expected.statistic, abs=1e-12)
    assert ks_p_value(distance, n, m) == pytest.approx(expected.pvalue, rel=1e-9, abs=1e-300)


def test_tiny_exact_p_values_stay_accurate() -> None:
    first, second = np.linspace(0, 1, 80), np.linspace(2, 3, 90)
    # Complete separation: two of all orders.
    assert ks_p_value(ks_distance(first, second), 80, 90) == pytest.approx(
        2 / special.comb(170, 80), rel=1e-9
    )


@pytest.mark.parametrize("scaled", [0.21, 0.5, 0.9, 1.36, 2.5, 5.0])
def test_asymptotic_p_value_equals_scipys_kolmogorov(scaled: float) -> None:
    n = m = 20_000
    distance = scaled / (n * m / (n + m)) ** 0.5
    assert ks._asymptotic(distance, n, m) == pytest.approx(special.kolmogorov(scaled), abs=1e-9)


def test_exact_and_asymptotic_meet_at_large_sizes() -> None:
    distance = round(0.05 * 2000 * 2500)
    exact = ks_p_value(distance, 2000, 2500)
    assert ks._asymptotic(0.05, 2000, 2500) == pytest.approx(exact, rel=0.1)


def test_beyond_the_limit_the_asymptotic_value_is_used() -> None:
    n = m = 5000
    assert n * m > ks.EXACT_LIMIT
    assert ks_p_value(round(0.03 * n * m), n, m) == ks._asymptotic(0.03, n, m)


def test_equal_samples_are_at_no_distance() -> None:
    values = np.array([0.2, 0.2, 0.7])
    assert ks_distance(values, values) == 0
    assert ks_p_value(0, 3, 3) == 1.0
