from pathlib import Path

import numpy as np
import pytest

from cifarops.config import DataParams, SyntheticParams, load_params
from cifarops.data.sources.synthetic import CLASSES, SHIFTS, read_synthetic, render
from cifarops.errors import UsageError

LABELS = np.arange(600) % 10


def mean_change(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    change: np.ndarray = np.abs(first.astype(float) - second).mean(axis=(1, 2, 3))
    return change


def test_the_seed_decides() -> None:
    images = render(LABELS, seed=3)
    assert images.shape == (600, 32, 32, 3)
    assert images.dtype == np.uint8
    assert np.array_equal(images, render(LABELS, seed=3))
    assert not np.array_equal(images, render(LABELS, seed=4))


def test_no_two_images_are_alike() -> None:
    images = render(np.zeros(600, dtype=np.int64), seed=0)
    assert len({image.tobytes() for image in images}) == 600


@pytest.mark.parametrize("size", [16, 48])
def test_other_sizes_show_the_same_scene(size: int) -> None:
    small = render(LABELS[:100], seed=1, size=16).reshape(100, 16, 16, 3).astype(float)
    large = (
        render(LABELS[:100], seed=1, size=size)
        .reshape(100, 16, size // 16, 16, size // 16, 3)
        .mean(axis=(2, 4))
    )
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("shift", SHIFTS)
def test_severity_zero_changes_nothing(shift: str) -> None:
    plain = render(LABELS[:50], seed=1)
    assert np.array_equal(plain, render(LABELS[:50], seed=1, shift=shift, severity=0.0))


@pytest.mark.parametrize("shift", SHIFTS)
def test_more_severity_changes_more(shift: str) -> None:
    labels = np.full(200, CLASSES.index("truck"))
    plain = render(labels, seed=1)
    changes = [
        mean_change(plain, render(labels, seed=1, shift=shift, severity=s)).mean() for s in (0.3, 0.6, 1.0)
    ]
    assert 0 < changes[0] < changes[1] < changes[2]


def test_fog_takes_contrast_and_adds_light_and_night_takes_light() -> None:
    plain, fog, night = (
        render(LABELS, seed=1, shift=shift, severity=0.8).astype(float) for shift in (None, "fog", "night")
    )
    assert fog.std(axis=(1, 2)).mean() < 0.5 * plain.std(axis=(1, 2)).mean()
    assert fog.mean() > plain.mean()
    assert night.mean() < 0.6 * plain.mean()
    assert night[..., 2].mean() > night[..., 0].mean()


def test_blur_smooths_and_noise_roughens() -> None:
    def roughness(shift: str | None) -> float:
        images = render(LABELS, seed=1, shift=shift, severity=1.0).astype(float)
        return float(np.abs(np.diff(images, axis=2)).mean())

    assert roughness("blur") < 0.8 * roughness(None) < 0.5 * roughness("noise")


def test_a_new_background_leaves_the_object() -> None:
    labels = np.full(300, CLASSES.index("frog"))
    plain, moved = (
        render(labels, seed=1, ambiguous=0, shift="background", severity=s).astype(float) for s in (0.0, 1.0)
    )
    change = np.abs(plain - moved).mean(axis=3)
    corners = change[:, [0, 0, -1, -1], [0, -1, 0, -1]].mean()
    centre = np.median(change[:, 12:20, 12:20].reshape(300, -1), axis=1)
    assert corners > 30
    assert (centre < 2).mean() > 0.5


def test_only_trucks_are_of_the_new_kind_and_as_many_as_asked_for() -> None:
    plain, new = (render(LABELS, seed=1, ambiguous=0, shift="new_truck", severity=s) for s in (0.0, 0.5))
    changed = mean_change(plain, new) > 0
    trucks = np.isin(LABELS, CLASSES.index("truck"))
    assert not changed[~trucks].any()
    assert 0.25 < changed[trucks].mean() < 0.75


def test_the_share_of_ambiguous_images_is_as_asked_for() -> None:
    labels = np.arange(4000) % 10
    changed = mean_change(render(labels, seed=1, ambiguous=0), render(labels, seed=1, ambiguous=0.1)) > 0
    assert 0.08 < changed.mean() < 0.12


def test_an_unknown_shift_is_refused() -> None:
    with pytest.raises(UsageError, match="rain") as caught:
        render(LABELS, seed=0, shift="rain")
    assert "fog" in caught.value.fix


def test_reading_gives_balanced_splits_and_an_identity() -> None:
    params = load_params(Path("params.yaml"), "smoke").data
    raw = read_synthetic(params)
    for split, count in (("train", 2000), ("test", 1000)):
        assert np.bincount(raw.labels[raw.splits == split]).tolist() == [count // 10] * 10
    other = read_synthetic(_with(params, ambiguous=0.5))
    assert raw.source.kind == other.source.kind == "synthetic"
    assert raw.source.sha256 != other.source.sha256
    assert np.array_equal(raw.images, read_synthetic(params).images)


def _with(params: DataParams, **changes: float) -> DataParams:
    synthetic = SyntheticParams.model_validate(params.synthetic.model_dump() | changes)
    return params.model_copy(update={"synthetic": synthetic})
