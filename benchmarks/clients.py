"""Clients that ask all the time, know what every version answers, and note what is missing, wrong or out of turn."""

import itertools
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cifarops.bundle.store import Bundle
from cifarops.serving.engine import Engine
from tests.support.bundles import COLOURS, colour_image
from tests.support.serving import Connection

_KEPT, _FRESH = 3, 1
_PAUSE_SECONDS = 0.004
_TOLERANCE = 1e-5
IMAGES = tuple(colour_image(colour, seed=seed) for seed in range(2) for colour in COLOURS)
# By image and version.
Expected = Mapping[tuple[bytes, int], NDArray[np.float64]]


@dataclass
class Reign:
    """The time in which a version may answer: from when it was asked for until its successor answered everywhere."""

    version: int
    begin: float
    end: float = float("inf")


@dataclass
class Seen:
    """What clients saw; answers as (sent, received, version), failures as (sent, why)."""

    answers: list[tuple[float, float, int]] = field(default_factory=list)
    failures: list[tuple[float, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def out_of_turn(self, reigns: Sequence[Reign]) -> int:
        """Count the answers of versions that could not have answered then."""
        return sum(
            not any(
                reign.version == version and reign.begin <= received and sent <= reign.end for reign in reigns
            )
            for sent, received, version in self.answers
        )


def expected_answers(versions: Mapping[int, Bundle]) -> Expected:
    """Work out what each version answers to each image."""
    engines = {
        version: Engine(bundle.path.parent, bundle.digest, version) for version, bundle in versions.items()
    }
    return {
        (image, version): np.asarray(engine.answer(image).probabilities, np.float64)
        for version, engine in engines.items()
        for image in IMAGES
    }


@contextmanager
def watched(url: str, expected: Expected) -> Iterator[Seen]:
    """Let clients ask all the time while the block runs, most on kept connections; no request is tried again."""
    seen, halt = Seen(), threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(url, number, expected, seen, halt), daemon=True)
        for number in range(_KEPT + _FRESH)
    ]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        halt.set()
        for thread in threads:
            thread.join()


def _ask(url: str, number: int, expected: Expected, seen: Seen, halt: threading.Event) -> None:
    connection = Connection(url)
    for image in itertools.islice(itertools.cycle(IMAGES), number, None):
        if halt.wait(_PAUSE_SECONDS):
            break
        sent = time.time()
        try:
            status, answer = connection.predict(image)
        except Exception as error:
            seen.failures.append((sent, repr(error)))
            connection.close()
            connection = Connection(url)
            continue
        if status != 200:
            seen.failures.append((sent, str(answer)))
            continue
        version = int(answer["model_version"])
        given, wanted = np.array(list(answer["probabilities"].values())), expected.get((image, version))
        if wanted is None or np.abs(given - wanted).max() > _TOLERANCE:
            seen.wrong.append(f"version {version} answered {given}, not {wanted}")
        seen.answers.append((sent, time.time(), version))
        if number >= _KEPT:  # a fresh connection each time
            connection.close()
            connection = Connection(url)
    connection.close()
