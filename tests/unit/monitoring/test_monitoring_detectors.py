import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from cifarops.monitoring.detectors import (
    DETECTORS,
    Sample,
    classifier,
    fair_coin_p_value,
    labels,
    mean_discrepancy,
    outputs,
    pixels,
    stability,
)
from cifarops.monitoring.views import Group

NAMES = ("output a", "output b", "feature 1", "feature 2", "brightness", "noise")
GROUPS: tuple[Group, ...] = ("outputs", "outputs", "features", "features", "pixels", "pixels")


def sample(count: int, seed: int, *, moved: str | None = None, by: float = 1.0, rare: bool = False) -> Sample:
    rng = np.random.default_rng(seed)
    views = rng.normal(0, 1, (count, len(NAMES))).astype(np.float32)
    if moved is not None:
        views[:, NAMES.index(moved)] += by
    predicted = rng.choice(3, count, p=[0.45, 0.45, 0.1] if rare else [0.4, 0.3, 0.3])
    return Sample(predicted, views, NAMES, GROUPS, ("cat", "dog", "owl"))


REFERENCE = sample(600, 0)


def columns(each: Sample, group: Group) -> NDArray[np.float64]:
    return each.views[:, [place for place, name in enumerate(GROUPS) if name == group]].astype(np.float64)


@pytest.mark.parametrize(
    ("detector", "group", "moved"), [(outputs, "outputs", "output b"), (pixels, "pixels", "noise")]
)
def test_ks_detectors_equal_scipys_test_with_bonferroni(detector, group: Group, moved: str) -> None:  # type: ignore[no-untyped-def]
    window = sample(80, 1, moved=moved, by=0.4)
    found = detector(window, REFERENCE)
    expected = [
        stats.ks_2samp(first, second, method="exact")
        for first, second in zip(columns(window, group).T, columns(REFERENCE, group).T, strict=True)
    ]
    assert found.p_value == pytest.approx(min(1, 2 * min(each.pvalue for each in expected)), rel=1e-6)
    assert found.statistic == pytest.approx(max(each.statistic for each in expected))
    assert found.moved == moved


def test_labels_equal_scipys_chi_square_and_name_the_class() -> None:
    window = sample(200, 2, rare=True)
    found = labels(window, REFERENCE)
    table = np.stack([np.bincount(each.predicted, minlength=3) for each in (window, REFERENCE)])
    expected = stats.chi2_contingency(table, correction=False)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.moved == "owl"


def test_the_discrepancy_equals_its_definition() -> None:
    window, small = sample(30, 3, moved="feature 1"), sample(40, 4)
    found = mean_discrepancy(window, small)
    first, second = columns(window, "features"), columns(small, "features")
    together = np.concatenate([first, second])
    width = np.median([((a - b) ** 2).sum() for a in together for b in together])

    def similarity(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
        return float(np.mean([np.exp(-((a - b) ** 2).sum() / width) for a in left for b in right]))

    expected = similarity(first, first) + similarity(second, second) - 2 * similarity(first, second)
    assert found.statistic == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("detector", [mean_discrepancy, classifier])
def test_feature_detectors_find_a_shift_and_keep_their_level(detector) -> None:  # type: ignore[no-untyped-def]
    assert detector(sample(150, 5, moved="feature 2", by=0.8), REFERENCE).p_value < 0.01
    small = sample(60, 6)
    clean = [detector(sample(50, seed), small).p_value for seed in range(40)]
    assert sum(p < 0.1 for p in clean) <= stats.binom.ppf(0.9999, 40, 0.1)


@pytest.mark.parametrize(("heads", "tosses"), [(0, 1), (7, 10), (150, 250), (250, 250)])
def test_the_coin_equals_scipys_binomial_test(heads: int, tosses: int) -> None:
    expected = stats.binomtest(heads, tosses, alternative="greater").pvalue
    assert fair_coin_p_value(heads, tosses) == pytest.approx(expected, rel=1e-9)


def test_the_stability_index_equals_its_definition() -> None:
    window = sample(500, 7, moved="brightness", by=1.5)
    found = stability(window, REFERENCE)
    ours, theirs = window.views[:, 4], REFERENCE.views[:, 4]
    edges = np.quantile(theirs, np.linspace(0, 1, 11)[1:-1])
    shares = [
        (np.histogram(each, np.concatenate([[-np.inf], edges, [np.inf]]))[0] + 0.5) / (len(each) + 5)
        for each in (ours, theirs)
    ]
    assert found.statistic == pytest.approx(
        np.sum((shares[0] - shares[1]) * np.log(shares[0] / shares[1])), rel=1e-3
    )
    assert (found.moved, found.p_value) == ("brightness", None)


def test_every_detector_answers_a_window_of_three() -> None:
    for detector in DETECTORS:
        found = detector(sample(3, 8), REFERENCE)
        assert np.isfinite(found.statistic)
        assert found.p_value is None or 0 <= found.p_value <= 1
