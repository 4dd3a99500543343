import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from cifarops.errors import DataError
from cifarops.evaluation.calibration import fit_temperature


def sampled(rng: np.random.Generator, n: int, scale: float) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits and labels drawn from softmax(logits / scale): the best temperature is `scale`."""
    logits = (rng.normal(0, 2, (n, 10)) * scale).astype(np.float32)
    noise = rng.gumbel(size=logits.shape)
    return logits, (logits / scale + noise).argmax(axis=1)


@pytest.mark.parametrize("scale", [0.2, 1.0, 3.5])
def test_temperature_that_made_the_labels_is_found(scale: float) -> None:
    logits, labels = sampled(np.random.default_rng(0), 20_000, scale)
    assert fit_temperature(logits, labels) == pytest.approx(scale, rel=0.05)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.3, 5))
def test_temperature_equals_scipys_minimum(seed: int, scale: float) -> None:
    logits, labels = sampled(np.random.default_rng(seed), 200, scale)
    wide = logits.astype(np.float64)

    def loss(log_temperature: float) -> float:
        return float(-log_softmax(wide / np.exp(log_temperature), axis=1)[np.arange(200), labels].mean())

    best = minimize_scalar(
        loss, bounds=(np.log(0.05), np.log(20)), method="bounded", options={"xatol": 1e-10}
    )
    assert np.log(fit_temperature(logits, labels)) == pytest.approx(best.x, abs=1e-4)
    assert loss(np.log(fit_temperature(logits, labels))) <= best.fun + 1e-12


def test_flawless_logits_end_at_the_cold_end() -> None:
    logits = np.eye(4, dtype=np.float32) * 5
    assert fit_temperature(logits, np.arange(4)) == pytest.approx(0.05)


def test_worse_than_guessing_ends_at_the_hot_end() -> None:
    logits = np.eye(4, dtype=np.float32) * 5
    assert fit_temperature(logits, (np.arange(4) + 1) % 4) == pytest.approx(20)


def test_logits_that_say_nothing_keep_temperature_one() -> None:
    assert fit_temperature(np.zeros((5, 3), np.float32), np.array([0, 1, 2, 0, 1])) == 1.0


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([[1e30, 0], [0, 1e30], [1e30, 0]], np.float32)
    assert 0.05 <= fit_temperature(logits, np.array([0, 1, 1])) <= 20


def test_nan_is_refused() -> None:
    with pytest.raises(DataError, match="NaN"):
        fit_temperature(np.full((2, 2), np.nan, np.float32), np.array([0, 1]))
