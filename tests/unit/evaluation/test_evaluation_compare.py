import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import xlogy

from cifarops.errors import DataError
from cifarops.evaluation.compare import (
    bootstrap_interval,
    compare,
    difference_interval,
    images_to_compare,
    mcnemar,
    tail,
)

counts = st.integers(0, 400)


@given(counts, counts)
def test_mcnemar_equals_scipys_binomial_test(won: int, lost: int) -> None:
    expected = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar(won, lost) == pytest.approx(expected, rel=1e-9)


@given(counts, counts, st.integers(0, 2000), st.sampled_from([0.01, 0.025, 0.05]))
def test_interval_holds_the_estimate_and_mirrors(won: int, lost: int, alike: int, alpha: float) -> None:
    images = won + lost + alike + 1
    interval = difference_interval(won, lost, images, alpha)
    assert -1 <= interval.low <= interval.value <= interval.high <= 1
    mirrored = difference_interval(lost, won, images, alpha)
    assert (mirrored.low, mirrored.high) == (-interval.high, -interval.low)


@pytest.mark.parametrize(("won", "lost", "images"), [(30, 12, 1000), (1, 0, 44), (0, 0, 500), (7, 90, 200)])
def test_lower_bound_is_where_the_constrained_likelihoods_score_reaches_z(
    won: int, lost: int, images: int
) -> None:
    low = difference_interval(won, lost, images, 0.025).low
    alike = images - won - lost

    def loss(share_lost: float) -> float:
        return -float(
            xlogy(won, share_lost + low) + xlogy(lost, share_lost) + xlogy(alike, 1 - 2 * share_lost - low)
        )

    bounds = (max(0.0, -low), (1 - low) / 2)
    share_lost = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-13}).x
    deviation = np.sqrt(images * (2 * share_lost + low - low**2))
    assert (won - lost - images * low - 1) / deviation == pytest.approx(stats.norm.ppf(0.975), rel=1e-4)


@pytest.mark.parametrize("images", [1000, 10_000])
@pytest.mark.parametrize(
    ("won_share", "lost_share"), [(0.04, 0.04), (0.05, 0.04), (0.004, 0.008), (0.2, 0.1)]
)
def test_each_bound_misses_no_more_often_than_alpha(images: int, won_share: float, lost_share: float) -> None:
    rng = np.random.default_rng(0)
    shares = [won_share, lost_share, 1 - won_share - lost_share]
    draws = rng.multinomial(images, shares, size=1500)[:, :2].tolist()
    intervals = [difference_interval(won, lost, images, 0.05) for won, lost in draws]
    truth = won_share - lost_share
    noise = 3 * (0.05 * 0.95 / len(draws)) ** 0.5
    assert np.mean([interval.low > truth for interval in intervals]) <= 0.05 + noise
    assert np.mean([interval.high < truth for interval in intervals]) <= 0.05 + noise


def test_interval_and_exact_test_agree_at_no_difference() -> None:
    for won in range(0, 120):
        excludes_zero = difference_interval(won, 40, 1000, 0.025).low > 0
        p = mcnemar(won, 40)
        if excludes_zero and won > 40:
            assert p < 0.055
        if p < 0.045 and won > 40:
            assert excludes_zero


@pytest.mark.parametrize(("won", "lost"), [(45, 35), (40, 60), (27, 23)])
def test_images_needed_show_the_difference_four_times_in_five(won: int, lost: int) -> None:
    needed = images_to_compare(won, lost, 1000, beyond=0.0, alpha=0.05)
    assert needed is not None
    rng = np.random.default_rng(1)
    shares = [won / 1000, lost / 1000, 1 - (won + lost) / 1000]
    draws = rng.multinomial(needed, shares, size=400)[:, :2].tolist()
    intervals = [difference_interval(a, b, needed, 0.05) for a, b in draws]
    shown = [interval.low > 0 if won > lost else interval.high < 0 for interval in intervals]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.07)


def test_no_count_of_images_shows_no_difference() -> None:
    assert images_to_compare(7, 7, 100, beyond=0.0, alpha=0.05) is None


def test_a_margin_makes_the_same_difference_easier_to_tell() -> None:
    near = images_to_compare(51, 49, 1000, beyond=0.0, alpha=0.05)
    far = images_to_compare(51, 49, 1000, beyond=-0.01, alpha=0.05)
    assert near is not None
    assert far is not None
    assert far < near


@pytest.mark.parametrize(("won", "lost", "images"), [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_impossible_counts_are_refused(won: int, lost: int, images: int) -> None:
    with pytest.raises(DataError, match="can't be among"):
        compare(won, lost, images, 0.05)


def test_comparison_says_what_was_counted() -> None:
    comparison = compare(30, 10, 1000, 0.05)
    assert comparison.difference.value == pytest.approx(0.02)
    assert comparison.difference.low > 0
    assert comparison.p_value == pytest.approx(stats.binomtest(10, 40).pvalue)


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 400), st.sampled_from([-0.05, 0.0, 0.01]))
def test_the_p_value_and_the_bound_say_the_same(won: int, lost: int, others: int, beyond: float) -> None:
    images = max(won + lost + others, 1)
    p_value = tail(won, lost, images, beyond)
    for alpha in (0.01, 0.05, 0.3):
        if abs(p_value - alpha) > 1e-6:
            assert (p_value < alpha) == (difference_interval(won, lost, images, alpha).low > beyond)


@pytest.mark.parametrize(("won", "lost", "images"), [(50, 30, 1000), (300, 200, 10_000)])
def test_the_paired_bootstrap_of_images_gives_the_interval_of_the_counts(
    won: int, lost: int, images: int
) -> None:
    signs = np.repeat([1, -1, 0], [won, lost, images - won - lost]).astype(float)
    drawn = stats.bootstrap(
        (signs,), np.mean, method="percentile", n_resamples=4000, confidence_level=0.9, rng=0, batch=100
    ).confidence_interval
    ours = bootstrap_interval(won, lost, images, 0.05)
    deviation = signs.std() / images**0.5
    assert ours.low == pytest.approx(drawn.low, abs=0.15 * deviation)
    assert ours.high == pytest.approx(drawn.high, abs=0.15 * deviation)
    exact = difference_interval(won, lost, images, 0.05)
    assert ours.low == pytest.approx(exact.low, abs=0.2 * deviation)
