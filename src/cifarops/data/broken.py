"""Images as a broken camera, cable or program gives them: whole files, wrong content."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cifarops.errors import UsageError

_Images = NDArray[np.uint8]
_COARSE = 4  # pixels that an image of the wrong size makes of one


def break_images(images: _Images, name: str) -> _Images:
    """Break images, uint8 (N, S, S, 3), in one of the ways of `DEFECTS`.

    Raises:
        UsageError: There is no such defect.
    """
    if name not in DEFECTS:
        raise UsageError(f"There is no defect {name!r}.", fix=f"Use one of: {', '.join(DEFECTS)}.")
    return np.ascontiguousarray(DEFECTS[name](images))


def _constant(images: _Images) -> _Images:
    """Every pixel is the image's mean: a covered lens."""
    means = images.mean(axis=(1, 2), keepdims=True).round().astype(np.uint8)
    return np.broadcast_to(means, images.shape)


def _swapped(images: _Images) -> _Images:
    """Blue, green, red instead of red, green, blue."""
    return images[..., ::-1]


def _inverted(images: _Images) -> _Images:
    """Light for dark."""
    return 255 - images


def _enlarged(images: _Images) -> _Images:
    """A thumbnail of a quarter of the size, sent in place of the image."""
    size = images.shape[1] - images.shape[1] % _COARSE
    small = images[:, :size:_COARSE, :size:_COARSE]
    places = np.arange(images.shape[1]) * small.shape[1] // images.shape[1]
    return small[:, places][:, :, places]


def _cut_off(images: _Images) -> _Images:
    """The lower half never arrived: mid grey, as decoders fill it."""
    cut = images.copy()
    cut[:, images.shape[1] // 2 :] = 128
    return cut


DEFECTS: dict[str, Callable[[_Images], _Images]] = {
    "constant": _constant,
    "swapped_colours": _swapped,
    "inverted": _inverted,
    "thumbnail": _enlarged,
    "cut_off": _cut_off,
}
