"""Images that are the same, or almost."""

import hashlib

import numpy as np
from numpy.typing import NDArray

_FREQUENCIES = 8
_THUMBNAIL = 8
_NEIGHBOURS = 4
_CLEARLY = 2.0  # of 255 levels
_MAX_BITS = 6
_MAX_DIFFERENCE = 8.0
_CHUNK = 1024


def identical_groups(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number the distinct images: int64 (N,), equal where all pixels of uint8 (N, S, S, 3) are equal."""
    numbers: dict[bytes, int] = {}
    groups = (
        numbers.setdefault(hashlib.blake2b(image.data, digest_size=16).digest(), len(numbers))
        for image in np.ascontiguousarray(images)
    )
    return np.fromiter(groups, dtype=np.int64, count=len(images))


def near_pairs(images: NDArray[np.uint8], among: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find pairs of images that differ little: recompressed, slightly brighter, a few pixels changed.

    Each image gets a 64-bit perceptual hash: which of its 64 lowest cosine frequencies of luma are clearly positive
    (after C. Zauner, "Implementation and benchmarking of perceptual image hash functions", 2010; above two levels
    rather than above zero, because the sign of a frequency that is hardly there is chance). Near hashes are found by sorting them
    under eight rotations of their bits and comparing each with its next neighbours (after G. Manku et al., "Detecting
    near-duplicates for web crawling", 2007), which costs N·log N and may miss a pair, never more than a few per cent.
    A pair counts if at most 6 bits differ and thumbnails of 8×8 pixels differ by 8 of 255 levels or less on average.

    Args:
        images: uint8 (N, S, S, 3).
        among: int64 (M,), ascending: the images to compare. Of identical images one should be given.

    Returns:
        int64 (P, 2): indices into `images` of each pair, the smaller first, in ascending order.
    """
    if len(among) < 2:
        return np.empty((0, 2), dtype=np.int64)
    hashes, thumbnails = _describe(images, among)
    pairs = np.unique(np.concatenate([_neighbours(hashes, 8 * turn) for turn in range(8)]), axis=0)
    difference = np.abs(thumbnails[pairs[:, 0]] - thumbnails[pairs[:, 1]]).mean(axis=(1, 2))
    near: NDArray[np.int64] = among[pairs[difference <= _MAX_DIFFERENCE]]
    return near


def _describe(
    images: NDArray[np.uint8], among: NDArray[np.int64]
) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
    """Perceptual hashes, uint64 (N,), and thumbnails, float32 (N, 8, 24)."""
    size = images.shape[1]
    cosines, averages = _cosines(size), _averages(size)
    wide = np.kron(averages, np.eye(3, dtype=np.float32))
    luma = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    bits = np.empty((len(among), _FREQUENCIES**2), dtype=bool)
    thumbnails = np.empty((len(among), _THUMBNAIL, _THUMBNAIL * 3), dtype=np.float32)
    for start in range(0, len(among), _CHUNK):
        chunk = images[among[start : start + _CHUNK]].astype(np.float32)
        amplitudes = cosines @ (chunk @ luma) @ cosines.T * (4 / size**2)
        bits[start : start + _CHUNK] = amplitudes.reshape(len(chunk), -1) > _CLEARLY
        rows = averages @ chunk.reshape(len(chunk), size, size * 3)
        thumbnails[start : start + _CHUNK] = rows @ wide.T
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0], thumbnails


def _neighbours(hashes: NDArray[np.uint64], turn: int) -> NDArray[np.int64]:
    """Pairs that are near in the order of the hashes rotated by `turn` bits, and in their bits."""
    left, right = np.uint64(turn), np.uint64((64 - turn) % 64)
    order = np.argsort((hashes << left) | (hashes >> right), kind="stable")
    pairs = [np.stack([order[:-step], order[step:]], axis=1) for step in range(1, _NEIGHBOURS + 1)]
    candidates = np.sort(np.concatenate(pairs), axis=1)
    different = np.bitwise_count(hashes[candidates[:, 0]] ^ hashes[candidates[:, 1]])
    near: NDArray[np.int64] = candidates[different <= _MAX_BITS]
    return near


def _cosines(size: int) -> NDArray[np.float32]:
    """The lowest rows of the cosine transform without the mean: (8, S)."""
    frequency, position = np.arange(1, _FREQUENCIES + 1)[:, None], np.arange(size)[None, :]
    return np.cos(np.pi * frequency * (position + 0.5) / size).astype(np.float32)


def _averages(size: int) -> NDArray[np.float32]:
    """Weights that average S positions into 8: (8, S)."""
    edges = np.linspace(0, size, _THUMBNAIL + 1)
    low, high = edges[:-1, None], edges[1:, None]
    position = np.arange(size)[None, :]
    overlap = np.minimum(high, position + 1) - np.maximum(low, position)
    return (overlap.clip(0) * _THUMBNAIL / size).astype(np.float32)
