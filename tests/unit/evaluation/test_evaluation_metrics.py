import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from cifarops.errors import DataError
from cifarops.evaluation.metrics import (
    accuracy,
    calibration_interval,
    confusion,
    expected_calibration_error,
    likelihood_interval,
    negative_log_likelihood,
    per_class_accuracy,
    wilson,
)


def answers(
    rng: np.random.Generator, n: int, *, claimed: float, true: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Two-class probabilities whose confidence is `claimed` while the share of right answers is `true`."""
    labels = rng.integers(0, 2, n)
    right = rng.random(n) < true
    predicted = np.where(right, labels, 1 - labels)
    probabilities = np.full((n, 2), 1 - claimed)
    probabilities[np.arange(n), predicted] = claimed
    return probabilities, labels


@given(st.integers(1, 20_000), st.floats(0, 1), st.sampled_from([0.001, 0.05, 0.1, 0.5]))
def test_wilson_equals_scipy(n: int, share: float, alpha: float) -> None:
    successes = round(share * n)
    expected = stats.binomtest(successes, n).proportion_ci(1 - alpha, method="wilson")
    interval = wilson(successes, n, alpha)
    assert interval.value == successes / n
    assert interval.low == pytest.approx(expected.low, abs=1e-12)
    assert interval.high == pytest.approx(expected.high, abs=1e-12)


def test_accuracy_counts_the_largest_score() -> None:
    scores = np.array([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0]])
    assert accuracy(scores, np.array([0, 1, 1])) == pytest.approx(2 / 3)


def test_confusion_has_true_classes_in_rows() -> None:
    counts = confusion(np.array([1, 1, 0]), np.array([0, 1, 0]), 3)
    assert counts.dtype == np.int64
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_per_class_accuracy_says_none_for_a_class_without_images() -> None:
    cat, dog, eel = per_class_accuracy(np.array([0, 1, 1]), np.array([0, 0, 1]), ("cat", "dog", "eel"))
    assert (cat.name, cat.images, cat.accuracy) == ("cat", 2, wilson(1, 2))
    assert dog.accuracy == wilson(1, 1)
    assert eel.images == 0
    assert eel.accuracy is None


def test_calibration_error_is_the_gap_between_claim_and_truth() -> None:
    probabilities, labels = answers(np.random.default_rng(1), 20_000, claimed=0.9, true=0.7)
    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.2, abs=0.01)


def test_calibration_error_matches_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet(np.ones(4), 500)
    labels = rng.integers(0, 4, 500)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    expected = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert expected_calibration_error(probabilities, labels) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("claimed", "true"), [(0.9, 0.85), (0.9, 0.9)])
def test_calibration_interval_covers_the_true_error(claimed: float, true: float) -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        probabilities, labels = answers(rng, 1000, claimed=claimed, true=true)
        interval = calibration_interval(probabilities, labels, resamples=200)
        covered += interval.low <= abs(claimed - true) + 1e-12 <= interval.high + 1e-12
    assert covered >= 180


def test_calibration_interval_is_the_same_every_time() -> None:
    probabilities, labels = answers(np.random.default_rng(4), 300, claimed=0.8, true=0.6)
    assert calibration_interval(probabilities, labels) == calibration_interval(probabilities, labels)


def test_likelihood_and_its_interval() -> None:
    probabilities = np.array([[0.5, 0.5], [0.25, 0.75]])
    labels = np.array([0, 0])
    expected = (math.log(2) + math.log(4)) / 2
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(expected)
    interval = likelihood_interval(probabilities, labels)
    assert interval.value == pytest.approx(expected)
    assert interval.low < expected < interval.high


def test_likelihood_of_a_surely_wrong_answer_is_finite() -> None:
    assert math.isfinite(negative_log_likelihood(np.array([[1.0, 0.0]], np.float32), np.array([1])))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "0 images"),
        (np.zeros((2, 2)), np.zeros(3, int), "2 rows of scores for 3 labels"),
        (np.zeros((2, 2)), np.array([0, 2]), "labels run from 0 to 2"),
        (np.zeros((2, 2)), np.array([-1, 0]), "1 of 2 images have no label"),
        (np.array([[np.nan, 0], [0, 1]]), np.array([0, 1]), "1 of 2 answers hold NaN"),
        (np.zeros(2), np.zeros(2, int), "shape"),
    ],
)
def test_unusable_answers_are_refused(
    scores: NDArray[np.float64], labels: NDArray[np.int64], message: str
) -> None:
    for measure in (accuracy, expected_calibration_error, negative_log_likelihood):
        with pytest.raises(DataError, match=message):
            measure(scores, labels)
