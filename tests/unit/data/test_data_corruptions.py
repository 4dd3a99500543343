import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from cifarops.data.corruptions import CORRUPTIONS, SEVERITIES, SHIFTS, corrupt
from cifarops.data.filtering import correlate, gaussian_blur, plasma, smear, zoom_matrix
from cifarops.data.sources.synthetic import render
from cifarops.errors import UsageError

ALL = sorted(CORRUPTIONS | SHIFTS)
# Severity is how hard images are to recognise; these two move pixels rather than change them more.
_NOT_BY_DISTANCE = {"glass_blur", "elastic"}


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return render(np.arange(60) % 10, seed=1, size=32, ambiguous=0)


def test_there_are_the_fifteen_of_the_paper() -> None:
    assert len(CORRUPTIONS) == 15
    assert SEVERITIES == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("name", ALL)
def test_every_severity_changes_the_images_and_keeps_their_form(name: str, drawn: np.ndarray) -> None:
    before = drawn.copy()
    for severity in SEVERITIES:
        changed = corrupt(drawn, name, severity=severity, seed=0)
        assert changed.shape == drawn.shape
        assert changed.dtype == np.uint8
        assert (changed != drawn).any(axis=(1, 2, 3)).mean() > 0.9
    assert np.array_equal(drawn, before)


@pytest.mark.parametrize("name", sorted(set(ALL) - _NOT_BY_DISTANCE))
def test_a_higher_severity_is_further_away(name: str, drawn: np.ndarray) -> None:
    near, _, middle, _, far = (
        np.abs(corrupt(drawn, name, severity=severity, seed=0).astype(float) - drawn).mean()
        for severity in SEVERITIES
    )
    assert near < middle
    assert near < far


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(ALL), st.sampled_from(SEVERITIES), st.sampled_from([8, 16, 24, 33]), st.integers(0, 9))
def test_the_same_seed_gives_the_same_images_at_any_size(
    name: str, severity: int, size: int, seed: int
) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (3, size, size, 3)).astype(np.uint8)
    once = corrupt(images, name, severity=severity, seed=seed)
    assert np.array_equal(once, corrupt(images, name, severity=severity, seed=seed))
    assert once.shape == images.shape


@pytest.mark.parametrize("name", ["gaussian_noise", "frost", "translation"])
def test_another_seed_gives_other_images(name: str, drawn: np.ndarray) -> None:
    assert not np.array_equal(
        corrupt(drawn, name, severity=3, seed=0), corrupt(drawn, name, severity=3, seed=1)
    )


@pytest.mark.parametrize(("name", "severity"), [("rust", 1), ("fog", 0), ("fog", 6)])
def test_an_unknown_corruption_or_severity_is_refused(name: str, severity: int) -> None:
    with pytest.raises(UsageError) as caught:
        corrupt(np.zeros((1, 8, 8, 3), np.uint8), name, severity=severity, seed=0)
    assert "gaussian_noise" in caught.value.fix


def test_noise_has_the_papers_strength() -> None:
    grey = np.full((50, 32, 32, 3), 128, np.uint8)
    gaussian = corrupt(grey, "gaussian_noise", severity=3, seed=0).astype(float) - 128
    assert gaussian.std() / 255 == pytest.approx(0.08, rel=0.02)
    shot = corrupt(grey, "shot_noise", severity=5, seed=0).astype(float) - 128
    assert shot.std() / 255 == pytest.approx(np.sqrt(128 / 255 / 50), rel=0.02)
    impulse = corrupt(grey, "impulse_noise", severity=5, seed=0)
    assert (impulse != 128).mean() == pytest.approx(0.07, rel=0.05)
    assert (impulse == 255).sum() == pytest.approx((impulse == 0).sum(), rel=0.1)


def test_jpeg_is_what_pillow_makes_of_it(drawn: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(drawn[0]).save(file, "JPEG", quality=58)
    assert np.array_equal(corrupt(drawn[:1], "jpeg", severity=3, seed=0)[0], np.asarray(Image.open(file)))


def test_pixelation_is_pillows_box_filter_but_for_its_rounding_between(drawn: np.ndarray) -> None:
    small = Image.fromarray(drawn[0]).resize((24, 24), Image.Resampling.BOX)
    reference = np.asarray(small.resize((32, 32), Image.Resampling.BOX)).astype(int)
    assert np.abs(corrupt(drawn[:1], "pixelate", severity=4, seed=0)[0].astype(int) - reference).max() <= 1


def test_contrast_keeps_each_channels_mean(drawn: np.ndarray) -> None:
    flat = corrupt(drawn, "contrast", severity=5, seed=0)
    assert np.allclose(flat.mean(axis=(1, 2)), drawn.mean(axis=(1, 2)), atol=0.6)
    assert flat.std(axis=(1, 2)).mean() == pytest.approx(0.15 * drawn.std(axis=(1, 2)).mean(), rel=0.05)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 6.4])
def test_gaussian_blur_equals_scipys(sigma: float) -> None:
    stack = np.random.default_rng(0).random((2, 20, 20, 3), dtype=np.float32)
    reference = ndimage.gaussian_filter(stack, sigma, axes=(1, 2), mode="nearest", truncate=4)
    assert np.abs(gaussian_blur(stack, sigma) - reference).max() < 1e-5


def test_correlation_equals_scipys() -> None:
    random = np.random.default_rng(0)
    stack, kernel = random.random((2, 12, 12, 3), dtype=np.float32), random.random((5, 5))
    reference = ndimage.correlate(stack, kernel[None, :, :, None], mode="mirror")
    assert np.abs(correlate(stack, kernel) - reference).max() < 1e-4


@pytest.mark.parametrize("factor", [1.0, 1.1, 1.25, 2.25])
def test_zoom_equals_scipys_of_the_same_crop(factor: float) -> None:
    line = np.random.default_rng(0).random(32)
    crop = int(np.ceil(32 / factor))
    start = (32 - crop) // 2
    enlarged = ndimage.zoom(line[start : start + crop], factor, order=1)
    first = (len(enlarged) - 32) // 2
    assert np.allclose(zoom_matrix(32, factor) @ line, enlarged[first : first + 32], atol=1e-5)


def test_smearing_goes_along_the_angle_and_keeps_flat_images() -> None:
    dot = np.zeros((1, 17, 17, 1), np.float32)
    dot[0, 8, 8] = 1
    across = smear(dot, np.zeros(1), radius=4, sigma=2)
    assert across[0, 8].sum() == pytest.approx(1, abs=1e-5)
    assert np.argwhere(across[0, 8, :, 0]).max() == 8  # taken from the right, so it trails to the left
    flat = np.full((1, 9, 9, 3), 0.4, np.float32)
    assert np.allclose(smear(flat, np.array([1.0]), radius=4, sigma=2), 0.4)


@pytest.mark.parametrize("size", [8, 31, 32])
def test_plasma_runs_from_0_to_1_and_is_rougher_with_less_decay(size: int) -> None:
    smooth, rough = (plasma(20, size, decay, np.random.default_rng(0)) for decay in (3.0, 1.2))
    assert smooth.shape == (20, size, size, 1)
    assert np.allclose([smooth.min(axis=(1, 2)), smooth.max(axis=(1, 2))], [[[0]], [[1]]])
    assert np.abs(np.diff(rough, axis=1)).mean() > np.abs(np.diff(smooth, axis=1)).mean()
