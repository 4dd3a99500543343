"""Preprocessing as data: one description, stored with the snapshot and the bundle, and one implementation.

Training, the gate and serving all call the functions here, so an image can't be treated differently in two places.
"""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field

from cifarops.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 100_000_000
MIN_SIDE = 8
_CHUNK = 4096  # images whose sums of squares fit 32 bits

# `decode` refuses large images itself, by the limit its caller gives; Pillow's own limit would only add a warning.
Image.MAX_IMAGE_PIXELS = None


class Preprocessing(BaseModel):
    """How an image becomes the network's input.

    Attributes:
        size: Height and width in pixels.
        fit: `crop`: scaled to cover the square, then cut at the centre.
        resample: Filter used when scaling.
        mean: Mean of R, G, B over the training split, in [0, 1].
        std: Standard deviation of R, G, B over the training split, in (0, 1].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    size: int = Field(ge=1)
    fit: Literal["crop"] = "crop"
    resample: Literal["bilinear"] = "bilinear"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def fitted(cls, images: NDArray[np.uint8]) -> "Preprocessing":
        """Compute mean and standard deviation on training images, uint8 (N, S, S, 3)."""
        total, squares = np.zeros(3), np.zeros(3)
        for start in range(0, len(images), _CHUNK):
            flat = images[start : start + _CHUNK].reshape(-1, images[0].size)
            total += flat.sum(axis=0, dtype=np.uint32).reshape(-1, 3).sum(axis=0)
            squares += (
                np.square(flat, dtype=np.uint16).sum(axis=0, dtype=np.uint32).reshape(-1, 3).sum(axis=0)
            )
        count = images.size / 3
        mean = total / count / 255
        std = np.sqrt(np.maximum(squares / count / 255**2 - mean**2, 1e-8))
        r, g, b = (round(float(value), 6) for value in mean)
        sr, sg, sb = (round(float(value), 6) for value in std)
        return cls(size=images.shape[1], mean=(r, g, b), std=(sr, sg, sb))

    def normalize(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn uint8 (N, S, S, 3) into the network's input, float32 (N, 3, S, S), contiguous."""
        scale = (1 / (255 * np.asarray(self.std))).astype(np.float32)
        shift = (np.asarray(self.mean) / np.asarray(self.std)).astype(np.float32)
        channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
        channels_first *= scale[:, None, None]
        channels_first -= shift[:, None, None]
        return channels_first


@dataclass(frozen=True)
class Decoded:
    """An image brought to size, and what it was before.

    Attributes:
        pixels: uint8 (size, size, 3), RGB.
        width: Width in pixels as stored.
        height: Height in pixels as stored.
        mode: Pillow's name of the stored pixel format, for example `RGB`, `L` or `P`.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    mode: str


def decode(content: bytes, size: int, *, max_pixels: int = MAX_PIXELS, min_side: int = 1) -> Decoded:
    """Decode a PNG, JPEG or WebP file and bring it to `size`.

    The numbers of pixels are read from the header and refused before anything is decoded. A 32×32 RGB image asked for
    at 32 comes back untouched, bit for bit what the decoder gives. Of an animation the first frame is taken, an EXIF
    orientation is applied, transparent pixels are laid on black, and deeper channels are scaled to 8 bits.

    Args:
        content: The file's bytes.
        size: Height and width of the result in pixels.
        max_pixels: Largest width × height that is decoded.
        min_side: Smallest width, and height, that is decoded.

    Raises:
        DataError: Not such a file, truncated, too large or too small.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            width, height, mode = image.width, image.height, image.mode
            if width * height > max_pixels:
                raise DataError(
                    f"The image has {width} × {height} pixels; the limit is {max_pixels:,}.",
                    fix="Scale it down first.",
                )
            if min(width, height) < min_side:
                raise DataError(
                    f"The image has {width} × {height} pixels; a side has {min_side} at least.",
                    fix="Send the picture itself, not a thumbnail of it.",
                )
            image.draft("RGB", (size, size))  # a large JPEG is decoded at a fraction of its size
            rgb = _to_rgb(_upright(image))
            return Decoded(fit_pixels(rgb, size), width, height, mode)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError("This is not a PNG, JPEG or WebP image.", fix="Send one of these formats.") from error
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise DataError(
            f"The image is damaged: {error}.", fix="Send a complete PNG, JPEG or WebP file."
        ) from error


def fit_pixels(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Scale an RGB image to cover `size` × `size` and cut it at the centre: uint8 (size, size, 3)."""
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; one that can't be read is as good as none."""
    image.load()
    try:
        return ImageOps.exif_transpose(image) if image.getexif() else image
    except Exception:  # the pixels are whole, only the remark beside them is not
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode; transparent pixels are laid on black, 16-bit grey is scaled."""
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.float32) / 257
        return Image.fromarray(levels.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
