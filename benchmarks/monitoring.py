"""How often monitoring cries wolf, how late it is, and whether it names the cause, on real images.

python -m benchmarks.monitoring [--quick] [--data ARCHIVE] [--workspace FOLDER] --out FILE

A network of the profile `fast` is trained without 10,000 of the training images. These and `valid` are the population: what
the packaged model answers to them, and to them corrupted, is stored once. For each stream a reference of the size of `valid`
and the stream's images are drawn from the population, both with replacement, so that a clean stream is exchangeable with its
reference and references vary as they would. The robustness suite is measured on images of `valid`; the official test images
are never looked at. Beside it on the same streams: Kolmogorov-Smirnov tests in windows of 500, with Bonferroni's correction
over classes and over the windows of a clean stream, so that its false alarms are as rare.
"""

import argparse
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import harness
from benchmarks.monitoring_world import Answers, World, prepare
from cifarops.data.broken import DEFECTS
from cifarops.data.corruptions import CORRUPTIONS, SEVERITIES
from cifarops.evaluation.metrics import wilson
from cifarops.machine import usable_cores
from cifarops.monitoring.ks import ks_distance, ks_p_value

_ALPHA = 0.01
_ONSET = 1000
_CLEAN_IMAGES = 20_000
_WINDOW = 500
_AFTER = 500
_NOISES = ("gaussian_noise", "shot_noise", "impulse_noise", "glass_blur")
_GENTLE = ("brightness", "fog", "elastic")
_TARGETS = {
    "clean_alarms": 0.01,
    "clean_alarms_upper": 0.02,
    "noises_within_200": 0.95,
    "others_within_1000": 0.9,
    "gentle_within_5000": 0.8,
    "tenth_within_5000": 0.8,
    "halved_within_2000": 0.9,
    "rightly_named": 0.85,
    "estimate_error": 0.039,
    "drop_confirmed_labels": 3000,
    "million_seconds": 10,
}


def main() -> None:
    """Prepare, simulate and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=harness.ROOT / "shared/data/cifar10-jpeg.tar.gz")
    parser.add_argument("--workspace", type=Path, default=harness.ROOT / "workspace/benchmark-monitoring")
    parser.add_argument("--quick", action="store_true", help="few streams")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    prepare(options.data, options.workspace)
    streams = 20 if options.quick else 1000
    repeats = 3 if options.quick else 100
    with ProcessPoolExecutor(usable_cores(), initializer=_open, initargs=(options.workspace,)) as pool:
        clean = list(pool.map(_clean, range(streams), chunksize=4))
        single = {
            name: list(pool.map(_drifted, [(f"{name}/3", 1.0, seed) for seed in range(repeats)]))
            for name in CORRUPTIONS
        }
        broken = {
            name: list(pool.map(_drifted, [(name, 1.0, seed) for seed in range(repeats)]))
            for name in (*DEFECTS, "new_class")
        }
        tenth = {
            f"{name}/{severity}": list(
                pool.map(
                    _drifted, [(f"{name}/{severity}", 0.1, seed) for seed in range(max(3, repeats // 3))]
                )
            )
            for name in CORRUPTIONS
            for severity in SEVERITIES[2:]
        }
        halved = list(pool.map(_halved, range(3 * repeats)))
    world = World.open(options.workspace)
    alarms = sum(row["alarm"] for row in clean)
    named = [row for rows in (*single.values(), *broken.values(), halved) for row in rows]
    harness.write(
        options.out,
        "monitoring",
        targets=_TARGETS,
        alpha=_ALPHA,
        onset=_ONSET,
        reference=world.size,
        population=len(world.population.labels),
        clean={
            "streams": streams,
            "images": _CLEAN_IMAGES,
            "alarms": wilson(alarms, streams, 0.1).model_dump(),
            "windowed_ks_alarms": fmean(row["ks_alarm"] for row in clean),
        },
        severity_3={name: _delays(rows, (200, 1000, 5000)) for name, rows in single.items()},
        noises=_delays((row for name in _NOISES for row in single[name]), (200,)),
        others=_delays(
            (row for name in single if name not in (*_NOISES, *_GENTLE) for row in single[name]), (1000,)
        ),
        gentle=_delays((row for name in _GENTLE for row in single[name]), (5000,)),
        tenth=_delays((row for rows in tenth.values() for row in rows), (5000,)),
        tenth_by_corruption={name: _delays(rows, (5000,)) for name, rows in tenth.items()},
        halved=_delays(halved, (2000,)),
        named={
            "kind_at_alarm": fmean(row["kind"] == row["truth"] for row in named if row["delay"] is not None),
            "kind_later": fmean(
                row["kind_later"] == row["truth"] for row in named if row["delay"] is not None
            ),
            "corruption_later": fmean(
                row["cause"] == name
                for name, rows in single.items()
                for row in rows
                if row["delay"] is not None
            ),
        },
        windowed_ks={
            "severity_3": _delays((_as_ks(row) for rows in single.values() for row in rows), (200, 1000)),
            "tenth": _delays((_as_ks(row) for rows in tenth.values() for row in rows), (5000,)),
            "halved": _delays((_as_ks(row) for row in halved), (2000,)),
        },
        estimates=world.estimate_errors(),
        drop_of_3_points=_drop(world, repeats * 3),
        million=_million(world, 100_000 if options.quick else 1_000_000),
    )


_world: World


def _open(workspace: Path) -> None:
    global _world  # one world for each process, read once
    _world = World.open(workspace)


def _clean(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng((1, seed))
    stream = _world.stream(rng, _ALPHA)
    images = _world.population.drawn(rng, _CLEAN_IMAGES)
    stream.see(images)
    return {"alarm": stream.alarm is not None, "ks_alarm": _windowed_ks(stream.reference, images) is not None}


def _drifted(job: tuple[str, float, int]) -> dict[str, Any]:
    name, share, seed = job
    rng = np.random.default_rng((2, seed, *name.encode()))
    limit = 5000
    drifted = _world.population.drawn(rng, limit).mixed(_world.changed[name].drawn(rng, limit), share, rng)
    return _play(rng, seed, drifted, _world.truth(name))


def _halved(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng((3, seed))
    classes = len(_world.classes)
    weights = np.where(_world.population.labels == seed % classes, 0.5, 1.0)
    return _play(rng, seed, _world.population.drawn(rng, 5000, weights), "label shift")


def _play(rng: np.random.Generator, seed: int, drifted: Answers, truth: str) -> dict[str, Any]:
    stream = _world.stream(rng, _ALPHA)
    clean = _world.population.drawn(rng, _ONSET)
    stream.see(clean)
    if stream.alarm is not None:  # a false one
        return {"delay": None, "truth": truth, "kind": None, "kind_later": None, "cause": None, "ks": None}
    stream.see(drifted)
    ks = _windowed_ks(stream.reference, clean.then(drifted))
    found: dict[str, Any] = {"delay": None, "kind": None, "kind_later": None, "cause": None}
    if stream.alarm is not None:
        delay = stream.alarm - _ONSET
        history = clean.then(drifted)
        now, later = (stream.diagnose(history.first(stream.alarm + more)) for more in (0, _AFTER))
        found = {"delay": delay, "kind": now.kind, "kind_later": later.kind, "cause": later.cause}
    return {**found, "truth": truth, "ks": None if ks is None or ks < _ONSET else ks - _ONSET}


def _windowed_ks(reference: NDArray[np.float32], images: Answers) -> int | None:
    """Return after how many images the plain test in windows raises its first alarm, or None.

    Its level is divided by the looks at a stream of 20,000 images: what a person sets who wants one false alarm in a
    hundred streams.
    """
    level = _ALPHA / (_CLEAN_IMAGES // _WINDOW)
    outputs = images.probabilities
    for stop in range(_WINDOW, len(outputs) + 1, _WINDOW):
        window = outputs[stop - _WINDOW : stop]
        distance = max(ks_distance(window[:, k], reference[:, k]) for k in range(window.shape[1]))
        if window.shape[1] * ks_p_value(distance, _WINDOW, len(reference)) < level:
            return stop
    return None


def _as_ks(row: dict[str, Any]) -> dict[str, Any]:
    return {"delay": row["ks"]}


def _delays(rows: Iterable[dict[str, Any]], limits: tuple[int, ...]) -> dict[str, Any]:
    delays = [row["delay"] for row in rows]
    found = [delay for delay in delays if delay is not None]
    return {
        "streams": len(delays),
        "found": len(found),
        "median_delay": median(found) if found else None,
        **{f"within_{limit}": sum(delay <= limit for delay in found) / len(delays) for limit in limits},
    }


def _drop(world: World, streams: int) -> dict[str, Any]:
    """Count the labels until an accuracy 3 points lower is surely below that on the reference."""
    return {
        "labels": 3000,
        "streams": streams,
        "confirmed": fmean(world.confirms_drop(seed) for seed in range(streams)),
    }


def _million(world: World, predictions: int) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    stream = world.stream(rng, 1e-12)
    chunk = world.population.drawn(rng, 10_000)
    began = time.perf_counter()
    for _ in range(predictions // 10_000):
        stream.see(chunk)
    return {"predictions": predictions, "seconds": time.perf_counter() - began}


if __name__ == "__main__":
    main()
