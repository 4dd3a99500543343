"""Two models on the same images: is one better, by how much, and how many images would tell.

Both models answer the same images, so only those where exactly one of them is right say anything about the
difference. Comparing two independent intervals instead would need several times the images.
"""

import math

import numpy as np
from pydantic import BaseModel, ConfigDict

from cifarops.errors import DataError
from cifarops.evaluation.metrics import Interval, normal_quantile, normal_tail

POWER = 0.8
_HALVINGS = 60
_RESAMPLES = 100_000


class Comparison(BaseModel):
    """A candidate and an incumbent on the same images.

    Attributes:
        images: How many.
        only_candidate: Images that the candidate alone gets right.
        only_incumbent: Images that the incumbent alone gets right.
        difference: Accuracy of the candidate minus the incumbent's; each bound misses with a chance of at most alpha.
        superiority_low: Lower bound that must be above 0 for a claim of being better; it shares alpha among the
            comparisons of which winning any one is enough.
        p_value: Two-sided exact McNemar test of no difference.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int
    only_candidate: int
    only_incumbent: int
    difference: Interval
    superiority_low: float
    p_value: float


def compare(
    only_candidate: int, only_incumbent: int, images: int, alpha: float, *, chances: int = 1
) -> Comparison:
    """Compare two models from the counts of images that one of them alone gets right.

    Args:
        only_candidate: Right by the candidate alone.
        only_incumbent: Right by the incumbent alone.
        images: All images, at least the sum of the two.
        alpha: Chance, in (0, 0.5), with which each bound of the difference may miss.
        chances: How many comparisons there are of which winning any one is enough.

    Raises:
        DataError: The counts don't fit together.
    """
    if min(only_candidate, only_incumbent) < 0 or not 0 < images >= only_candidate + only_incumbent:
        raise DataError(
            f"{only_candidate} and {only_incumbent} images can't be among {images}.",
            fix="Count the answers of both models on the same images.",
        )
    return Comparison(
        images=images,
        only_candidate=only_candidate,
        only_incumbent=only_incumbent,
        difference=difference_interval(only_candidate, only_incumbent, images, alpha),
        superiority_low=_lower_bound(only_candidate, only_incumbent, images, alpha / chances),
        p_value=mcnemar(only_candidate, only_incumbent),
    )


def mcnemar(only_candidate: int, only_incumbent: int) -> float:
    """Return the two-sided p value of McNemar's test, exact (McNemar 1947): a fair coin for each discordant image."""
    discordant = only_candidate + only_incumbent
    ways, tail = 1, 0
    for k in range(min(only_candidate, only_incumbent) + 1):
        tail += ways
        ways = ways * (discordant - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << discordant))


def difference_interval(only_candidate: int, only_incumbent: int, images: int, alpha: float) -> Interval:
    """Return the difference of accuracy with Tango's score interval, continuity-corrected.

    Tango (1998), "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17: it inverts McNemar's test, so the interval and the test agree. The correction
    of one image keeps each bound's chance of missing at or under `alpha` at any count of discordant images.

    Args:
        only_candidate: Right by the candidate alone.
        only_incumbent: Right by the incumbent alone.
        images: All images.
        alpha: Chance with which each bound may miss; together they form an interval of level 1 − 2 `alpha`.
    """
    return Interval(
        value=(only_candidate - only_incumbent) / images,
        low=_lower_bound(only_candidate, only_incumbent, images, alpha),
        high=-_lower_bound(only_incumbent, only_candidate, images, alpha),
    )


def bootstrap_interval(only_candidate: int, only_incumbent: int, images: int, alpha: float) -> Interval:
    """Return the difference of accuracy with the percentile interval of a paired bootstrap (Efron 1979).

    Drawing images with replacement, both models' answers together, changes nothing but the two counts; so the counts are
    drawn, from the multinomial that they follow. The seed is fixed.

    Args:
        only_candidate: Right by the candidate alone.
        only_incumbent: Right by the incumbent alone.
        images: All images.
        alpha: Chance with which each bound may miss.
    """
    shares = np.array([only_candidate, only_incumbent, images - only_candidate - only_incumbent]) / images
    won, lost, _ = np.random.default_rng(0).multinomial(images, shares, _RESAMPLES).T
    low, high = np.quantile((won - lost) / images, [alpha, 1 - alpha])
    return Interval(value=(only_candidate - only_incumbent) / images, low=float(low), high=float(high))


def tail(only_candidate: int, only_incumbent: int, images: int, difference: float) -> float:
    """Return the one-sided p value of the difference of accuracy being at most `difference`.

    Tango's score test with the correction of one image: at or under alpha exactly where `difference_interval`'s lower
    bound is at or above `difference`. Swap the counts and the sign to ask whether it is at least that.
    """
    excess = only_candidate - only_incumbent - images * difference - 1
    deviation = _deviation(only_candidate, only_incumbent, images, difference)
    if deviation == 0:
        return 0.0 if excess > 0 else 1.0
    return normal_tail(excess / deviation)


def images_needed(
    distance: float, *, deviation: float, deviation_at_bound: float, alpha: float, power: float = POWER
) -> int | None:
    """Return how many images would show, at one-sided `alpha`, that a mean lies on its side of a bound.

    For paired models this is Connor (1987), "Sample size for testing differences in proportions for the paired-sample
    design", Biometrics 43.

    Args:
        distance: From the true mean, here the one observed, to the bound.
        deviation: Standard deviation of one image's contribution at the true mean.
        deviation_at_bound: The same if the mean were at the bound.
        alpha: Chance of a wrong claim.
        power: Chance that so many images show it.

    Returns:
        The count of all images, or None where the distance is 0 and no count would do.
    """
    if distance == 0:
        return None
    reach = normal_quantile(1 - alpha) * deviation_at_bound + normal_quantile(power) * deviation
    return max(1, math.ceil((reach / distance) ** 2))


def images_to_compare(
    only_candidate: int, only_incumbent: int, images: int, *, beyond: float, alpha: float
) -> int | None:
    """Return how many images would show on which side of `beyond` the difference lies, were it the one observed.

    Args:
        only_candidate: Right by the candidate alone.
        only_incumbent: Right by the incumbent alone.
        images: All images.
        beyond: The difference to be told apart from: 0, or minus the margin.
        alpha: Chance of a wrong claim.
    """
    difference = (only_candidate - only_incumbent) / images
    discordance = (only_candidate + only_incumbent) / images
    return images_needed(
        difference - beyond,
        deviation=math.sqrt(discordance - difference**2),
        # A difference of `beyond` needs at least so many images on which the two differ.
        deviation_at_bound=math.sqrt(max(discordance, abs(beyond)) - beyond**2),
        alpha=alpha,
    )


def _lower_bound(won: int, lost: int, images: int, alpha: float) -> float:
    """Return the smallest difference that the counts don't contradict, by halving; the score falls in it."""
    z = normal_quantile(1 - alpha)
    low, high = -1.0, (won - lost) / images
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        excess = won - lost - images * middle - 1
        if excess > z * _deviation(won, lost, images, middle):
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _deviation(won: int, lost: int, images: int, difference: float) -> float:
    """Return the standard deviation of `won - lost` under a difference, at the likeliest share lost given it."""
    a = 2 * images
    b = -won - lost + (2 * images - won + lost) * difference
    c = -lost * difference * (1 - difference)
    share_lost = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    return math.sqrt(max(images * (2 * share_lost + difference * (1 - difference)), 0.0))
