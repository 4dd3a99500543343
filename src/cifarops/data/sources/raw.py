"""What every source hands over: images at the asked size, with where each came from and what was odd about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cifarops.data.snapshot import SourceInfo


@dataclass(frozen=True)
class Problem:
    """Something noticed while reading one file.

    Attributes:
        check: `unreadable` or `too_small` (the policy decides), or `converted`, `ignored`, `checksum` (only reported).
        name: The file's name inside its source.
        detail: What exactly, for people.
        index: The image's index in `RawImages`, or None where no image came of it.
    """

    check: str
    name: str
    detail: str
    index: int | None = None


@dataclass(frozen=True)
class RawImages:
    """A source's images before validation.

    Attributes:
        images: uint8 (N, S, S, 3), RGB.
        labels: int64 (N,), in [0, number of classes).
        names: N names for messages: the path in the archive or folder.
        splits: N strings, `train`, `valid`, `test`, or empty where the source doesn't say.
        classes: Class names in label order.
        source: The source's identity.
        problems: What was noticed while reading.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: Sequence[str]
    splits: NDArray[np.str_]
    classes: tuple[str, ...]
    source: SourceInfo
    problems: tuple[Problem, ...] = ()
