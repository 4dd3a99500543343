import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize

from cifarops.bundle.runtime import softmax
from cifarops.monitoring.class_mix import estimate_mix
from cifarops.monitoring.estimate import Estimator, _assigned_confidence


def world(
    count: int, seed: int, *, sharpness: float = 3.0, mix: list[float] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Calibrated by construction: labels are drawn from the probabilities' own model."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=mix or [1 / 3] * 3)
    logits = rng.normal(0, 1, (count, 3)) + sharpness * np.eye(3)[labels]
    return softmax((sharpness * logits).astype(np.float32)), labels


def accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    return float((probabilities.argmax(axis=1) == labels).mean())


def test_on_more_of_the_same_every_estimate_is_right() -> None:
    known, labels = world(4000, 0, sharpness=1.5)
    estimate = Estimator.fitted(known, labels)(world(4000, 1, sharpness=1.5)[0])
    for value in estimate.model_dump().values():
        assert value == pytest.approx(accuracy(known, labels), abs=0.03)


def test_a_model_that_answers_one_class_only_deceives_all_but_the_transport() -> None:
    known, labels = world(3000, 2)
    collapsed = np.tile(np.array([0.98, 0.01, 0.01], np.float32), (600, 1))
    estimate = Estimator.fitted(known, labels)(collapsed)
    assert estimate.cbpe > 0.95
    assert estimate.atc > 0.95
    assert estimate.cott < 0.4


def test_the_transport_is_the_best_assignment() -> None:
    probabilities, _ = world(30, 3, sharpness=1.0)
    mix = np.array([0.5, 0.3, 0.2])
    columns = np.repeat(np.arange(3), [15, 9, 6])
    rows, chosen = optimize.linear_sum_assignment(-probabilities[:, columns])
    best = probabilities[rows, columns[chosen]].mean()
    assert _assigned_confidence(probabilities, mix).mean() == pytest.approx(best, abs=0.01)


def test_a_known_mix_makes_the_transport_better_under_label_shift() -> None:
    known, labels = world(4000, 4, sharpness=1.5)
    shifted, truth = world(2000, 5, sharpness=1.5, mix=[0.8, 0.1, 0.1])
    estimator = Estimator.fitted(known, labels)
    mix = np.array([0.8, 0.1, 0.1])
    right = accuracy(shifted, truth)
    assert estimator(shifted, mix).cott == pytest.approx(right, abs=0.06)
    assert abs(estimator(shifted, mix).cott - right) < abs(estimator(shifted).cott - right)


def test_the_class_mix_is_recovered_and_its_interval_covers() -> None:
    reference, labels = world(3000, 6, sharpness=1.5)
    covered = 0
    for seed in range(12):
        window, _ = world(800, 100 + seed, sharpness=1.5, mix=[0.6, 0.3, 0.1])
        found = estimate_mix(window.argmax(axis=1), reference.argmax(axis=1), labels, 3)
        assert sum(each.value for each in found) == pytest.approx(1)
        covered += sum(
            each.low <= share <= each.high for each, share in zip(found, (0.6, 0.3, 0.1), strict=True)
        )
    assert covered >= 30  # of 36, each with a chance of 95 %


def test_without_errors_the_mix_is_what_is_predicted() -> None:
    labels = np.arange(90) % 3
    found = estimate_mix(np.array([0, 0, 1, 2]), labels, labels, 3)
    assert [each.value for each in found] == pytest.approx([0.5, 0.25, 0.25], abs=1e-3)
