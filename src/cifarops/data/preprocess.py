"""Preprocessing as data: one description, stored with the snapshot and the bundle, and one implementation.

Training, the gate and serving all call the functions here, so an image can't be treated differently in two places.
"""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import BaseModel, ConfigDict, Field

from cifarops.errors import DataError

FORMATS = ("PNG", "JPEG", "WEBP")


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
        histogram = np.stack(
            [np.bincount(images[..., channel].reshape(-1), minlength=256) for channel in range(3)]
        ).astype(np.float64)
        share = histogram / histogram.sum(axis=1, keepdims=True)
        levels = np.arange(256) / 255
        mean = share @ levels
        std = np.sqrt(np.maximum(share @ levels**2 - mean**2, 1e-8))
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


def decode_image(content: bytes, size: int, *, max_pixels: int = 100_000_000) -> NDArray[np.uint8]:
    """Decode a PNG, JPEG or WebP file and bring it to `size`.

    The number of pixels is read from the header and refused before anything is decoded. A 32×32 RGB image asked for
    at 32 comes back untouched, bit for bit what the decoder gives.

    Args:
        content: The file's bytes.
        size: Height and width of the result in pixels.
        max_pixels: Largest width × height that is decoded.

    Returns:
        uint8 (size, size, 3), RGB.

    Raises:
        DataError: Not such a file, truncated, or too large.
    """
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise DataError(
                    f"The image has {image.width} × {image.height} pixels; the limit is {max_pixels:,}.",
                    fix="Scale it down first.",
                )
            image.draft("RGB", (size, size))
            upright = ImageOps.exif_transpose(image) if image.getexif() else image
            rgb = _to_rgb(upright)
            if rgb.size != (size, size):
                rgb = ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR)
            return np.asarray(rgb)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError("This is not a PNG, JPEG or WebP image.", fix="Send one of these formats.") from error
    except Exception as error:  # Pillow's decoders raise many types on damaged files
        raise DataError(
            f"The image is damaged: {error}.", fix="Send a complete PNG, JPEG or WebP file."
        ) from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode; transparent pixels are laid on black, 16-bit grey is scaled."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I"):
        return image.point(lambda value: value / 256).convert("L").convert("RGB")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    return image.convert("RGB")
