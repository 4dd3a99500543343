import numpy as np
import pytest

from cifarops.evaluation.compare import compare
from cifarops.evaluation.evidence import SuiteName
from cifarops.evaluation.requirements import Pair, non_inferior, superior

ALPHA, MARGIN = 0.05, 0.01
NAMES: tuple[SuiteName, ...] = ("test", "recent")


def promoted_share(*, won: float, lost: float, images: int, suites: int = 1, times: int = 2000) -> float:
    """Share of candidates that pass both comparisons, on fresh images each time; `won` and `lost` are true shares."""
    rng = np.random.default_rng(0)
    promoted = 0
    for _ in range(times):
        counts = rng.multinomial(images, [won, lost, 1 - won - lost], size=suites).tolist()
        pairs = [
            Pair(name, compare(a, b, images, ALPHA, chances=suites), ALPHA)
            for name, (a, b, _) in zip(NAMES, counts, strict=False)
        ]
        findings = [superior(pairs), *(non_inferior(pair, MARGIN) for pair in pairs)]
        promoted += all(finding.state == "held" for finding in findings)
    return promoted / times


@pytest.mark.parametrize("suites", [1, 2])
@pytest.mark.parametrize("images", [1000, 10_000])
def test_a_model_that_is_no_better_is_promoted_at_most_as_often_as_alpha(images: int, suites: int) -> None:
    noise = 3 * (0.05 * 0.95 / 2000) ** 0.5
    assert promoted_share(won=0.04, lost=0.04, images=images, suites=suites) <= 0.05 + noise


@pytest.mark.parametrize("suites", [1, 2])
@pytest.mark.parametrize("images", [1000, 10_000])
def test_a_model_one_point_worse_is_almost_never_promoted(images: int, suites: int) -> None:
    assert promoted_share(won=0.035, lost=0.045, images=images, suites=suites) <= 0.01


def test_a_model_one_point_better_is_usually_promoted_on_ten_thousand_images() -> None:
    assert promoted_share(won=0.045, lost=0.035, images=10_000) >= 0.9


def test_an_open_comparison_names_the_nearest_suite_only() -> None:
    pairs = [
        Pair("test", compare(52, 50, 5000, ALPHA), ALPHA),
        Pair("recent", compare(60, 45, 2000, ALPHA), ALPHA),
    ]
    assert list(superior(pairs).needs) == ["recent"]
