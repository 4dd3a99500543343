import io
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cifarops.data.preprocess import MAX_PIXELS, Preprocessing, decode
from cifarops.errors import DataError
from tests.support.images import encoded, noise

PHOTO = noise(1, size=48)[0]
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16")


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def in_mode(mode: str) -> Image.Image:
    if mode == "I;16":
        grey = np.asarray(Image.fromarray(PHOTO).convert("L")).astype(np.uint16)
        return Image.fromarray(grey * 257)
    return Image.fromarray(PHOTO).convert(mode)


WRITABLE = [
    (mode, kind)
    for mode in MODES
    for kind in ("PNG", "JPEG", "WEBP")
    if not (kind == "JPEG" and mode in ("LA", "P", "RGBA", "I;16"))
    and not (kind == "PNG" and mode in ("CMYK", "YCbCr"))
    and not (kind == "WEBP" and mode == "I;16")
]


@pytest.mark.parametrize(("mode", "kind"), WRITABLE)
def test_every_mode_and_format_looks_like_the_original(mode: str, kind: str) -> None:
    pixels = decode(saved(in_mode(mode), kind), 48).pixels.astype(float)
    reference = np.asarray(Image.fromarray(PHOTO).convert("L" if mode in ("1", "L", "LA", "I;16") else "RGB"))
    reference = reference if reference.ndim == 3 else np.repeat(reference[..., None], 3, axis=2)
    blocks = (pixels - reference).reshape(6, 8, 6, 8, 3).mean(axis=(1, 3))
    assert pixels.shape == (48, 48, 3)
    assert np.abs(blocks).mean() < 12


def test_pixels_of_the_asked_size_are_untouched() -> None:
    image = noise(1)[0]
    assert np.array_equal(decode(encoded(image), 32).pixels, image)


def test_sixteen_bit_grey_keeps_its_levels() -> None:
    levels = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    pixels = decode(saved(Image.fromarray(levels), "PNG"), 32).pixels
    assert np.array_equal(pixels[..., 0], np.round(levels / 257).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGBA", "P", "RGB"])
def test_transparency_is_laid_on_black(mode: str) -> None:
    image = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    if mode == "RGBA":
        content = saved(image, "PNG")
    elif mode == "P":
        content = saved(Image.new("P", (32, 32), 3), "PNG", transparency=3)
    else:
        content = saved(Image.new("RGB", (32, 32), (255, 255, 255)), "PNG", transparency=(255, 255, 255))
    assert not decode(content, 32).pixels.any()


def test_exif_orientation_is_applied() -> None:
    image = Image.fromarray(noise(1)[0])
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decode(saved(image, "PNG", exif=exif), 32).pixels
    assert np.array_equal(pixels, np.asarray(image.rotate(-90)))


def test_broken_exif_does_not_cost_the_image() -> None:
    content = saved(Image.fromarray(PHOTO), "PNG", exif=b"Exif\0\0II*\0garbage that is no directory")
    assert decode(content, 48).pixels.shape == (48, 48, 3)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "MPO"])
def test_the_first_frame_counts(kind: str) -> None:
    first, second = Image.new("RGB", (32, 32), (250, 0, 0)), Image.new("RGB", (32, 32), (0, 0, 250))
    pixels = decode(saved(first, kind, save_all=True, append_images=[second]), 32).pixels
    assert pixels[..., 0].min() > 200
    assert pixels[..., 2].max() < 50


def test_other_shapes_are_cut_at_the_centre() -> None:
    wide = np.zeros((40, 80, 3), dtype=np.uint8)
    wide[:, 20:60] = 255
    assert decode(encoded(wide), 40).pixels.min() > 200


def test_size_and_mode_before_decoding_are_told() -> None:
    decoded = decode(encoded(np.zeros((5, 7), dtype=np.uint8)), 16)
    assert (decoded.width, decoded.height, decoded.mode) == (7, 5, "L")


def test_too_many_pixels_are_refused_by_the_header_alone() -> None:
    header = Image.new("1", (10_001, 10_000))
    content = saved(header, "PNG")
    with pytest.raises(DataError, match="10001 × 10000 pixels"):
        decode(content, 32)
    assert MAX_PIXELS == 100_000_000
    with pytest.raises(DataError, match="limit is 100"):
        decode(encoded(noise(1)[0]), 32, max_pixels=100)
    with pytest.raises(DataError, match="33 at least"):
        decode(encoded(noise(1)[0]), 32, min_side=33)


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_formats_are_refused(kind: str) -> None:
    with pytest.raises(DataError, match="not a PNG, JPEG or WebP"):
        decode(saved(Image.fromarray(PHOTO), kind), 32)


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(DataError):
        decode(content, 32)


@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_give_an_image_or_a_refusal(kind: str, data: st.DataObject) -> None:
    content = bytearray(encoded(PHOTO, kind))
    for position, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=8)
    ):
        content[position] = value
    del content[data.draw(st.integers(0, len(content))) :]
    with suppress(DataError):
        assert decode(bytes(content), 32).pixels.shape == (32, 32, 3)


def test_preprocessing_is_fitted_and_applied() -> None:
    images = noise(40)
    fitted = Preprocessing.fitted(images)
    scaled = images.reshape(-1, 3) / 255
    assert np.allclose(fitted.mean, scaled.mean(axis=0), atol=1e-5)
    assert np.allclose(fitted.std, scaled.std(axis=0), atol=1e-5)
    normal = fitted.normalize(images)
    assert normal.dtype == np.float32
    assert normal.shape == (40, 3, 32, 32)
    assert normal.flags.c_contiguous
    assert np.allclose(normal.mean(axis=(0, 2, 3)), 0, atol=1e-3)
    assert np.allclose(normal.std(axis=(0, 2, 3)), 1, atol=1e-3)


def test_preprocessing_of_one_colour_stays_finite() -> None:
    black = np.zeros((3, 16, 16, 3), dtype=np.uint8)
    assert np.isfinite(Preprocessing.fitted(black).normalize(black)).all()
