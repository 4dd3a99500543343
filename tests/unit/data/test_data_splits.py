import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cifarops.data.splits import assign_splits, stratified

labelled = st.lists(st.integers(0, 4), min_size=1, max_size=300).map(
    lambda values: np.array(values, dtype=np.int64)
)
fractions = st.floats(0.01, 0.49)


@given(labelled, fractions, st.integers(0, 100))
def test_each_class_gives_its_share(labels: np.ndarray, fraction: float, seed: int) -> None:
    chosen = stratified(labels, fraction, np.random.default_rng(seed))
    for label in np.unique(labels):
        have, took = (labels == label).sum(), (chosen & (labels == label)).sum()
        assert took < have
        assert took >= min(1, have - 1)
        assert abs(took - fraction * have) <= 1


@given(
    labelled,
    fractions,
    fractions,
    st.integers(0, 100),
    st.sampled_from([("",), ("train",), ("train", "test")]),
)
def test_splits_are_complete_keep_what_is_given_and_repeat(
    labels: np.ndarray, valid: float, test: float, seed: int, given_names: tuple[str, ...]
) -> None:
    given_splits = np.array([given_names[n % len(given_names)] for n in range(len(labels))])
    splits = assign_splits(labels, given_splits, valid_fraction=valid, test_fraction=test, seed=seed)
    assert set(splits) <= {"train", "valid", "test"}
    assert (splits[given_splits == "test"] == "test").all()
    if "test" in given_splits:
        assert not (splits[given_splits == "train"] == "test").any()
    again = assign_splits(labels, given_splits, valid_fraction=valid, test_fraction=test, seed=seed)
    assert np.array_equal(splits, again)


def test_given_valid_images_are_enough() -> None:
    labels = np.repeat([0, 1], 30)
    given_splits = np.tile(["train", "valid", "test"], 20)
    splits = assign_splits(labels, given_splits, valid_fraction=0.3, test_fraction=0.3, seed=1)
    assert np.array_equal(splits, given_splits)


def test_another_seed_gives_another_choice() -> None:
    labels = np.zeros(200, dtype=np.int64)
    nothing = np.full(200, "")
    first, second = (
        assign_splits(labels, nothing, valid_fraction=0.2, test_fraction=0.2, seed=seed) for seed in (1, 2)
    )
    assert not np.array_equal(first, second)
    assert [(first == name).sum() for name in ("train", "valid", "test")] == [128, 32, 40]
