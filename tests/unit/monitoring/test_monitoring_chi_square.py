import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cifarops.monitoring.chi_square import chi_square_distance, chi_square_p_value

counts = st.lists(st.integers(0, 500), min_size=4, max_size=4)


@given(st.floats(0.01, 400), st.integers(1, 60))
def test_the_p_value_equals_scipys(statistic: float, freedom: int) -> None:
    expected = stats.chi2.sf(statistic, freedom)
    assert chi_square_p_value(statistic, freedom) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@given(counts, counts)
def test_the_statistic_equals_scipys(first: list[int], second: list[int]) -> None:
    table = np.array([first, second])
    if (table.sum(axis=1) == 0).any() or (table.sum(axis=0) > 0).sum() < 2:
        return
    expected = stats.chi2_contingency(table[:, table.sum(axis=0) > 0], correction=False)
    statistic, freedom = chi_square_distance(table[0], table[1])
    assert statistic == pytest.approx(expected.statistic)
    assert freedom == expected.dof


def test_equal_samples_are_no_evidence() -> None:
    assert chi_square_p_value(*chi_square_distance(np.array([3, 4]), np.array([3, 4]))) == 1
    assert chi_square_p_value(*chi_square_distance(np.array([3, 0]), np.array([4, 0]))) == 1
