import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from cifarops.monitoring.martingale import _BETS as BETS
from cifarops.monitoring.martingale import _LEVELS, Martingale, _class_bets, _tables
from cifarops.monitoring.views import Group

GROUPS: tuple[Group, ...] = ("outputs", "features", "pixels")
CLASSES = 4


def views(count: int, rng: np.random.Generator, *, moved: float = 0.0) -> NDArray[np.float32]:
    drawn = rng.normal(0, 1, (count, len(GROUPS)))
    drawn[:, 1] += moved
    return drawn.astype(np.float32)


def classes(count: int, rng: np.random.Generator, *, first: float = 1 / CLASSES) -> NDArray[np.int64]:
    return rng.choice(CLASSES, count, p=[first, *[(1 - first) / (CLASSES - 1)] * (CLASSES - 1)])


def started(rng: np.random.Generator, *, size: int = 400, alpha: float = 0.01) -> Martingale:
    return Martingale(
        views(size, rng), classes(size, rng), groups=GROUPS, classes=CLASSES, alpha=alpha, seed=3
    )


def test_ranks_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    martingale = started(rng, size=30)
    before = martingale._places(views(30, np.random.default_rng(0)), np.zeros(30, np.int64))[:, 1]
    new = np.round(views(40, rng), 1)
    new[5, 1] = np.nan
    places = martingale._places(new, classes(40, rng)).T
    ranks = martingale._ranks(places)
    chance = np.random.default_rng((3, 0)).random(places.shape)
    bag = before.tolist()
    for k, place in enumerate(places[1].tolist()):
        if place >= 0:
            less, equal = sum(b < place for b in bag), sum(b == place for b in bag)
            assert ranks[1, k] == pytest.approx((less + chance[1, k] * (equal + 1)) / (len(bag) + 1))
            bag.append(place)


def test_ranks_of_exchangeable_images_are_uniform_and_independent() -> None:
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(150):  # over references too: with each comes its own luck
        martingale = started(rng, size=20)
        martingale._seed = int(rng.integers(1 << 30))
        drawn.append(martingale._ranks(martingale._places(views(12, rng), classes(12, rng)).T)[0])
    ranks = np.array(drawn)
    assert stats.kstest(ranks.ravel(), "uniform").pvalue > 1e-4
    neighbours = stats.pearsonr(ranks[:, :-1].ravel(), ranks[:, 1:].ravel())
    assert neighbours.pvalue > 1e-4


def test_every_bet_has_mean_1_and_no_negative_odds() -> None:
    tables = _tables([BETS, *(_class_bets(share) for share in (0.0, 0.004, 0.1, 0.6, 1.0))])
    np.testing.assert_allclose(tables.mean(axis=1), 1, rtol=1e-12)
    assert (tables >= 0).all()
    assert tables.shape[1] == _LEVELS


def test_exchangeable_streams_raise_alarms_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(2)
    times, alarms = 120, 0
    for seed in range(times):
        martingale = started(rng, size=100, alpha=0.1)
        martingale._seed = seed
        martingale.see(views(600, rng), classes(600, rng))
        alarms += martingale.alarm is not None
    assert alarms <= stats.binom.ppf(0.9999, times, 0.1)


@pytest.mark.parametrize(("moved", "first", "within", "view"), [(2.0, 0.25, 60, 1), (0.0, 0.7, 150, 3)])
def test_a_change_that_comes_late_is_found_and_named(
    moved: float, first: float, within: int, view: int
) -> None:
    rng = np.random.default_rng(4)
    martingale = started(rng)
    martingale.see(views(500, rng), classes(500, rng))
    assert martingale.alarm is None
    martingale.see(views(300, rng, moved=moved), classes(300, rng, first=first))
    assert martingale.alarm is not None
    assert 500 < martingale.alarm.images <= 500 + within
    assert np.argmax(martingale.alarm.shares) == view
    assert martingale.fortune >= 1 / martingale.alpha


def test_the_size_of_the_steps_changes_neither_counts_nor_what_is_held_back() -> None:
    rng = np.random.default_rng(5)
    images, predicted = views(200, rng), classes(200, rng)
    whole, steps = (started(np.random.default_rng(6)) for _ in range(2))
    whole.see(images, predicted)
    for start in range(0, 200, 7):
        steps.see(images[start : start + 7], predicted[start : start + 7])
    np.testing.assert_array_equal(whole._counts, steps._counts)
    assert whole.images == steps.images == 200
    assert steps.fortune == pytest.approx(whole.fortune, rel=0.5)


def test_a_state_is_resumed_exactly_and_another_reference_is_refused() -> None:
    rng = np.random.default_rng(7)
    images, predicted = views(256, rng), classes(256, rng)
    whole, first = (started(np.random.default_rng(8)) for _ in range(2))
    whole.see(images, predicted)
    first.see(images[:128], predicted[:128])
    resumed = started(np.random.default_rng(8)).resume(first.to_bytes())
    resumed.see(images[128:], predicted[128:])
    assert (resumed.fortune, resumed.peak) == (whole.fortune, whole.peak)
    with pytest.raises(ValueError, match="another reference"):
        Martingale(images[:, :2], predicted, groups=GROUPS[:2], classes=CLASSES, alpha=0.01).resume(
            first.to_bytes()
        )
    with pytest.raises(ValueError, match=r"pickled|file"):
        whole.resume(b"nothing")


def test_missing_views_are_not_bet_on() -> None:
    rng = np.random.default_rng(9)
    martingale = started(rng)
    images = views(200, rng, moved=6)
    images[:, 1] = np.nan
    martingale.see(images, classes(200, rng))
    assert martingale.alarm is None
    assert martingale._counts[1].sum() == 400
