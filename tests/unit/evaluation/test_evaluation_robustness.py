import numpy as np
import pytest
from numpy.typing import NDArray

from cifarops.data.corruptions import CORRUPTIONS, SHIFTS
from cifarops.errors import DataError
from cifarops.evaluation.robustness import measure_robustness, sample, summarise

LABELS = np.arange(12) % 3
IMAGES = (np.eye(3)[LABELS] * 200)[:, None, None, :].repeat(8, 1).repeat(8, 2).astype(np.uint8)


def strongest(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = images.mean(axis=(1, 2))
    return means


def first(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.tile([1.0, 0, 0], (len(images), 1))


def test_both_models_answer_the_same_corrupted_images() -> None:
    seen: list[int] = []
    found = measure_robustness(
        [strongest, first],
        IMAGES,
        LABELS,
        alpha=0.05,
        progress=lambda _, done, total, note="": seen.append(total - done),
    )
    assert [row.name for row in found.corruptions] == list(CORRUPTIONS)
    assert [row.name for row in found.shifts] == list(SHIFTS)
    assert all(row.incumbent == pytest.approx((2 / 3,) * 5) for row in found.corruptions)
    assert found.error.value < 0.05
    assert found.difference is not None
    assert found.difference.value == pytest.approx(2 / 3 - found.error.value)
    assert found.relative is not None
    assert found.relative < 0.1
    assert sorted(seen) == list(range(90))
    assert found == measure_robustness([strongest, first], IMAGES, LABELS, alpha=0.05)


def test_a_first_model_is_compared_with_nothing() -> None:
    found = measure_robustness([strongest], IMAGES, LABELS, alpha=0.05)
    assert (found.incumbent_error, found.difference, found.relative) == (None, None, None)


def test_an_image_counts_once_however_often_it_is_corrupted() -> None:
    random = np.random.default_rng(0)
    cells = (18, 5, 400)
    alike = np.broadcast_to(random.random(400) < 0.7, cells)
    found = summarise(alike, None, alpha=0.05)
    spread = np.sqrt(alike[0, 0].mean() * (1 - alike[0, 0].mean()) / 399)
    assert found.error.high - found.error.value == pytest.approx(1.6449 * spread, rel=1e-4)
    apart = summarise(random.random(cells) < 0.7, None, alpha=0.05)
    assert apart.error.high - apart.error.low < (found.error.high - found.error.low) / 5


def test_the_relative_error_is_the_papers_with_the_incumbent_as_measure() -> None:
    right = np.random.default_rng(1).random((2, 18, 5, 200)) < np.array([0.8, 0.6])[:, None, None, None]
    found = summarise(right[0], right[1], alpha=0.05)
    errors = (~right[:, :15]).mean(axis=3).sum(axis=2)
    assert found.relative == pytest.approx((errors[0] / errors[1]).mean(), abs=1e-12)
    faultless = summarise(right[0], np.ones_like(right[1]), alpha=0.05)
    assert faultless.relative is None


def test_the_sample_is_fixed_and_holds_as_much_of_each_class() -> None:
    labels = np.arange(1000) % 10
    chosen = sample(labels, 200)
    assert np.array_equal(chosen, sample(labels, 200))
    assert np.bincount(labels[chosen]).tolist() == [20] * 10
    assert np.array_equal(sample(labels, 5000), np.arange(1000))


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="0 images"):
        measure_robustness([strongest], IMAGES[:0], LABELS[:0], alpha=0.05)
