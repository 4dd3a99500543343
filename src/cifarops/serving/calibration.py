"""How a model is run on this machine, tried out for a moment when it is loaded: threads of a call, images of a call.

Requests are not collected into batches. That pays where a call costs about the same for many images as for one, on a GPU;
on a processor each image costs its own time, and waiting for others would only be added to it.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from cifarops.bundle.runtime import OnnxModel
from cifarops.bundle.store import Bundle

# A try lasts this long, or one call: with two thread counts and four batch sizes that is a tenth of a second in all.
_TRY_SECONDS = 0.012
# Threads that meet inside a call cost everybody else time, so they must save a good part of it; and hardly lose any where
# all cores are busy with calls of their own.
_WORTH_MEETING = 0.75
_MAY_LOSE = 0.95
# More images in a call need more memory at once.
_WORTH_GROWING = 0.95
_BATCHES = (4, 16)


def calibrate(bundle: Bundle, model: OnnxModel, *, cores: int) -> tuple[OnnxModel, int]:
    """Try how a model answers fastest.

    Args:
        bundle: A verified bundle.
        model: Its model with one thread a call; it has answered before.
        cores: Processors, and calls at once when the server is busy.

    Returns:
        This model or one with as many threads a call as there are cores, and how many images it should see at once.
    """
    size = bundle.manifest.preprocessing.size
    blank = np.zeros((_BATCHES[-1], size, size, 3), np.uint8)
    if cores > 1:
        model = _fastest(model, OnnxModel(bundle, threads=cores), blank[:1], cores)
    best, seconds = 1, _alone(model, blank[:1])
    for batch in _BATCHES:
        each = _alone(model, blank[:batch]) / batch
        if each < _WORTH_GROWING * seconds:
            best, seconds = batch, each
    return model, best


def _fastest(single: OnnxModel, meeting: OnnxModel, image: NDArray[np.uint8], cores: int) -> OnnxModel:
    meeting.logits(image)  # the first call is slow
    if _alone(meeting, image) > _WORTH_MEETING * _alone(single, image):
        return single
    return meeting if _busy(meeting, image, cores) > _MAY_LOSE * _busy(single, image, cores) else single


def _alone(model: OnnxModel, images: NDArray[np.uint8]) -> float:
    """Return the shortest time of a call when there is no other."""
    return min(_calls(model, images))


def _busy(model: OnnxModel, images: NDArray[np.uint8], callers: int) -> float:
    """Return calls a second of several callers at once."""
    with ThreadPoolExecutor(callers) as threads:
        began = time.perf_counter()
        found = [threads.submit(_calls, model, images) for _ in range(callers)]
        return sum(len(calls.result()) for calls in found) / (time.perf_counter() - began)


def _calls(model: OnnxModel, images: NDArray[np.uint8]) -> list[float]:
    """Call for a moment, at least once, and return the times of the calls."""
    times: list[float] = []
    while sum(times) < _TRY_SECONDS:
        began = time.perf_counter()
        model.logits(images)
        times.append(time.perf_counter() - began)
    return times
