"""What an image looks like, in a few numbers that need no model: light, colour, sharpness, noise, traces of scaling."""

import numpy as np
from numpy.typing import NDArray

STATISTICS = (
    "brightness",
    "contrast",
    "warmth",
    "tint",
    "saturation",
    "sharpness",
    "noise",
    "flatness",
    "blockiness",
    "clipping",
)
_BLOCK = 8  # JPEG codes blocks of 8×8 pixels


def image_statistics(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe images by their pixels.

    Args:
        images: uint8 (N, S, S, 3), RGB, S at least 3.

    Returns:
        float32 (N, 10), in the order of `STATISTICS`: mean and standard deviation of the grey levels (0 to 255); red
        minus blue; green minus the mean of both; mean spread of the channels; log of the Laplacian's variance (Pech-Pacheco
        et al. 2000); log of the noise estimated by the difference of two Laplacians (Immerkær 1996); share of neighbours
        that are equal; log ratio of the steps across the borders of 8×8 blocks to the other steps; share of values 0 or 255.
    """
    red, green, blue = (images[..., channel].astype(np.int16) for channel in range(3))
    grey = red + green + blue  # three times the grey level: whole numbers are quicker
    means = [channel.mean(axis=(1, 2), dtype=np.float32) for channel in (red, green, blue)]
    across = grey[:, :, 1:] - grey[:, :, :-1]
    bend = across[:, :, 1:] - across[:, :, :-1]  # second difference along the rows, (N, S, S-2)
    upright = grey[:, 2:] - 2 * grey[:, 1:-1] + grey[:, :-2]
    laplacian = bend[:, 1:-1] + upright[:, :, 1:-1]
    noise = np.abs(bend[:, 2:] - 2 * bend[:, 1:-1] + bend[:, :-2])
    columns = np.abs(across).mean(axis=1, dtype=np.float32)
    at_border = (np.arange(columns.shape[1]) + 1) % _BLOCK == 0
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    clipped = (images == 0) | (images == 255)
    return np.stack(
        [
            sum(means) / np.float32(3),
            grey.std(axis=(1, 2), dtype=np.float32) / 3,
            means[0] - means[2],
            means[1] - (means[0] + means[2]) / 2,
            spread.mean(axis=(1, 2), dtype=np.float32),
            np.log1p(laplacian.var(axis=(1, 2), dtype=np.float32) / 9),
            np.log1p(noise.mean(axis=(1, 2), dtype=np.float32) / 3),
            (across == 0).mean(axis=(1, 2), dtype=np.float32),
            _block_steps(columns, at_border),
            clipped.mean(axis=(1, 2, 3), dtype=np.float32),
        ],
        axis=1,
    ).astype(np.float32)


def _block_steps(columns: NDArray[np.float32], at_border: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how much larger the steps across block borders are than the others, as a logarithm; 0 without borders."""
    if not at_border.any():
        return np.zeros(len(columns), np.float32)
    border, inside = columns[:, at_border].mean(axis=1), columns[:, ~at_border].mean(axis=1)
    steps: NDArray[np.float32] = np.log((1 + border) / (1 + inside))
    return steps
