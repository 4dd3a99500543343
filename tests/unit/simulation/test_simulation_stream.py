from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarops.data.preprocess import Preprocessing
from cifarops.data.snapshot import Snapshot, SourceInfo, write_snapshot
from cifarops.data.sources.scenes import FILTERS
from cifarops.errors import DataError, UsageError
from cifarops.simulation.shifts import apply_shift
from cifarops.simulation.stream import HeldOutStream, SyntheticStream, hold_out


def _numbered(count: int) -> np.ndarray:
    """Images that can be told apart: the first two bytes are their number."""
    images = np.zeros((count, 16, 16, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
    return images


def _snapshot(root: Path, count: int) -> Snapshot:
    images, labels = _numbered(count), np.arange(count) % 4
    return write_snapshot(
        root,
        {"train": (images, labels), "valid": (images[:8], labels[:8]), "test": (images[:8], labels[:8])},
        classes=("a", "b", "c", "d"),
        preprocessing=Preprocessing(size=16, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)),
        source=SourceInfo(kind="folder", name="numbers", sha256="0" * 64),
        seed=0,
    )


def test_held_out_images_are_no_longer_trained_on(tmp_path: Path) -> None:
    whole = _snapshot(tmp_path, 1000)
    smaller, stream = hold_out(tmp_path, whole, fraction=0.1, seed=3)
    images, labels = stream.draw(100)
    assert smaller.meta.parent == whole.id
    seen = {image.tobytes() for image in images}
    assert len(seen) == 100
    assert not seen & {image.tobytes() for image in smaller.images("train")}
    assert len(smaller.labels("train")) == 900
    number = images[:, 0, 0, 0].astype(int) + 256 * images[:, 0, 0, 1].astype(int)
    assert (labels == number % 4).all()
    assert smaller.meta.splits["test"] == whole.meta.splits["test"]


def test_too_few_images_to_hold_any_out_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 9 training images"):
        hold_out(tmp_path, _snapshot(tmp_path, 9), fraction=0.1, seed=0)


@given(st.lists(st.integers(1, 70), min_size=1, max_size=6), st.integers(0, 5))
def test_a_held_out_stream_gives_every_image_once_before_any_twice(sizes: list[int], seed: int) -> None:
    images = _numbered(40)
    stream = HeldOutStream(images, np.arange(40), seed=seed)
    drawn = np.concatenate([stream.draw(size)[1] for size in sizes])
    assert len(drawn) == sum(sizes)
    for start in range(0, len(drawn) - 39, 40):
        assert sorted(drawn[start : start + 40]) == list(range(40))


def test_a_synthetic_stream_never_repeats_itself_and_is_reproducible() -> None:
    def batches() -> list[np.ndarray]:
        stream = SyntheticStream(classes=10, size=32, ambiguous=0.05, seed=9)
        return [stream.draw(20)[0], stream.draw(20)[0]]

    (first, second), again = batches(), batches()
    assert not np.array_equal(first, second)
    assert np.array_equal(first, again[0])
    assert np.array_equal(second, again[1])


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(FILTERS)), st.floats(0.2, 1), st.integers(0, 100))
def test_a_shift_changes_the_images_and_nothing_about_their_form(
    shift: str, severity: float, seed: int
) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (4, 24, 24, 3)).astype(np.uint8)
    shifted = apply_shift(images, shift, severity=severity, seed=seed)
    assert shifted.shape == images.shape
    assert shifted.dtype == np.uint8
    assert not np.array_equal(shifted, images)
    assert np.array_equal(shifted, apply_shift(images, shift, severity=severity, seed=seed))


@pytest.mark.parametrize("shift", sorted(FILTERS))
def test_at_severity_0_nothing_changes(shift: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    assert np.array_equal(apply_shift(images, shift, severity=0, seed=1), images)


def test_an_unknown_shift_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        apply_shift(np.zeros((1, 16, 16, 3), np.uint8), "rain", severity=0.5, seed=0)
    assert "fog" in caught.value.fix
