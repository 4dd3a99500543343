"""Pixels that come as numbers in JSON."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cifarops.serving.problems import ProblemError


def pixels_from_json(values: Any, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return uint8 pixels of `shape` from parsed JSON: lists nested as `shape` says, or one flat list, row major.

    Raises:
        ProblemError: It is nested otherwise, too short or long, or has something else than whole numbers from 0 to 255 (422).
    """
    level = [values]
    if isinstance(values, list) and values and isinstance(values[0], list):
        for length in shape:
            level = _opened(level, length)
    else:
        level = _opened(level, int(np.prod(shape)))
    if set(map(type, level)) != {int}:  # bool is another type than int
        raise unusable("It has something else than whole numbers")
    try:
        return np.frombuffer(bytes(level), np.uint8).reshape(shape)
    except ValueError as error:
        raise unusable("It has numbers outside 0 to 255") from error


def unusable(why: str) -> ProblemError:
    """Say why a tensor can't be used."""
    return ProblemError("unusable-tensor", f"{why}.")


def _opened(lists: Sequence[Any], length: int) -> list[Any]:
    """Put the items of lists that must all have the same length one after the other."""
    if set(map(type, lists)) != {list} or set(map(len, lists)) != {length}:
        raise unusable("Its numbers are not as many, or not nested, as its shape says")
    return list(chain.from_iterable(lists))
