import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from cifarops.data.statistics import STATISTICS, image_statistics

_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])


def values(images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    return dict(zip(STATISTICS, image_statistics(images).T, strict=True))


def noise_images(count: int, size: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


@given(st.integers(3, 40), st.integers(0, 1000))
def test_sharpness_and_noise_equal_scipys_convolutions(size: int, seed: int) -> None:
    images = noise_images(2, size, seed)
    found = values(images)
    for k, image in enumerate(images):
        grey = image.astype(float).mean(axis=2)
        inside = ndimage.laplace(grey)[1:-1, 1:-1]
        assert found["sharpness"][k] == pytest.approx(np.log1p(inside.var()), rel=1e-4, abs=1e-4)
        noise = np.abs(ndimage.convolve(grey, _IMMERKAER)[1:-1, 1:-1]).mean()
        assert found["noise"][k] == pytest.approx(np.log1p(noise), rel=1e-4)
        assert found["brightness"][k] == pytest.approx(grey.mean(), rel=1e-5)
        assert found["contrast"][k] == pytest.approx(grey.std(), rel=1e-4)


def test_colours_have_their_signs() -> None:
    red = np.zeros((1, 8, 8, 3), np.uint8)
    red[..., 0] = 200
    found = values(np.concatenate([red, red[..., [1, 0, 2]]]))
    assert found["warmth"].tolist() == [200, 0]
    assert found["tint"].tolist() == [-100, 200]
    assert found["saturation"].tolist() == [200, 200]


def test_a_constant_image_is_flat_clipped_and_finite() -> None:
    found = image_statistics(np.zeros((3, 16, 16, 3), np.uint8))
    assert np.isfinite(found).all()
    row = dict(zip(STATISTICS, found[0].tolist(), strict=True))
    assert (row["flatness"], row["clipping"], row["contrast"], row["sharpness"]) == (1, 1, 0, 0)


def test_blocks_of_eight_show() -> None:
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 256, (5, 4, 4, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    assert (values(blocks)["blockiness"] > 1).all()
    assert np.abs(values(noise_images(20, 32, 1))["blockiness"]).mean() < 0.2
    assert (values(noise_images(2, 5, 1))["blockiness"] == 0).all()


def test_one_image_alone_is_described_as_in_a_batch() -> None:
    images = noise_images(7, 32, 2)
    np.testing.assert_allclose(
        image_statistics(images),
        np.concatenate([image_statistics(image[None]) for image in images]),
        rtol=1e-5,
    )
