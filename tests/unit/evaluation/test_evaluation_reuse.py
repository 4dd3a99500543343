from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cifarops.evaluation.reuse import Looks, divide
from cifarops.ledger.store import Ledger

A, B = "a" * 64, "b" * 64


@given(st.integers(20, 300), st.sampled_from([0.1, 0.2, 0.5]), st.integers(0, 2**60))
def test_a_split_is_divided_alike_each_time_and_within_each_class(
    count: int, share: float, seed: int
) -> None:
    labels = np.arange(count) % 3
    parts = divide(labels, share, f"{seed:064x}"[::-1])
    again = divide(labels, share, f"{seed:064x}"[::-1])
    assert np.array_equal(parts.kept, again.kept)
    assert np.array_equal(np.sort(np.concatenate([parts.seen, parts.kept])), np.arange(count))
    for label in range(3):
        of_class = int((labels == label).sum())
        assert abs((labels[parts.kept] == label).sum() - share * of_class) <= 1


def test_nothing_is_kept_where_nothing_shall_be() -> None:
    parts = divide(np.zeros(5, np.int64), 0.0, A)
    assert parts.seen.tolist() == [0, 1, 2, 3, 4]
    assert not len(parts.kept)


def test_candidates_are_counted_once_for_each_set_of_images(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as ledger:
        for images, candidate in [(A, "x"), (A, "y"), (A, "x"), (B, "x")]:
            Looks(ledger).record([images], candidate, "s", "ada")
        looks = Looks(ledger)
        assert ledger.count_decisions("test_look") == 4
    assert [looks.place(A, candidate) for candidate in ("x", "y", "z")] == [1, 2, 3]
    assert looks.place(B, "y") == 2
    assert looks.place("c" * 64, "x") == 1
