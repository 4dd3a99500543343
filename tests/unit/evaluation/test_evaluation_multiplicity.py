import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from cifarops.evaluation.multiplicity import holm, spent


def test_all_looks_together_spend_alpha_and_no_more() -> None:
    first = sum(spent(0.05, look) for look in range(1, 100_001))
    rest = 0.05 * special.zeta(1.6, 100_001) / special.zeta(1.6)
    assert first < 0.05
    assert first + rest == pytest.approx(0.05, rel=1e-9)


@given(st.floats(1e-6, 0.5), st.integers(1, 10_000))
def test_each_look_may_claim_less_than_the_one_before(alpha: float, look: int) -> None:
    assert 0 < spent(alpha, look + 1) < spent(alpha, look) < alpha


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_its_definition(p_values: list[float]) -> None:
    order = np.argsort(p_values, kind="stable")
    steps = [(len(p_values) - rank) * p_values[place] for rank, place in enumerate(order)]
    reference = np.empty(len(p_values))
    reference[order] = np.minimum(np.maximum.accumulate(steps), 1)
    assert holm(p_values) == pytest.approx(reference.tolist(), abs=1e-12)


def test_holm_claims_more_than_bonferroni_and_keeps_its_promise() -> None:
    assert holm([0.01, 0.02, 0.04]) == pytest.approx((0.03, 0.04, 0.04))
    chance = np.random.default_rng(0).random((4000, 10))
    assert np.mean([min(holm(row)) <= 0.05 for row in chance.tolist()]) <= 0.05 + 3 * 0.0035
