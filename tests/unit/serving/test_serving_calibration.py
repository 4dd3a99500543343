import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cifarops.bundle.runtime import OnnxModel
from cifarops.serving.calibration import calibrate
from tests.support.bundles import colour_bundle


class Clock:
    """Time that only calls of a model take: `cost` says how long one is, by its threads and images."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost: dict[int, float], *, each_image: float) -> None:
        self.now = 0.0
        self.calls: Counter[int] = Counter()
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)
        answer = OnnxModel.logits
        threads_of: dict[int, int] = {}
        create = OnnxModel.__init__

        def created(model: OnnxModel, *args: object, threads: int = 1, **options: object) -> None:
            create(model, *args, threads=threads, **options)  # type: ignore[arg-type]
            threads_of[id(model)] = threads

        def slow(model: OnnxModel, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            self.now += cost[threads_of[id(model)]] + each_image * len(images)
            self.calls[threads_of[id(model)]] += 1
            return answer(model, images)

        monkeypatch.setattr(OnnxModel, "__init__", created)
        monkeypatch.setattr(OnnxModel, "logits", slow)


@pytest.mark.parametrize(
    ("cost", "each_image", "together"),
    [
        ({1: 0.0, 2: 0.0}, 0.001, 1),  # a processor: every image costs the same
        ({1: 0.002, 2: 0.002}, 0.0, 16),  # a call costs the same for many images
    ],
)
def test_images_go_together_where_that_saves_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cost: dict[int, float], each_image: float, together: int
) -> None:
    Clock(monkeypatch, cost, each_image=each_image)
    bundle = colour_bundle(tmp_path)
    assert calibrate(bundle, OnnxModel(bundle), cores=1)[1] == together


@pytest.mark.parametrize(("faster", "meets"), [(0.5, False), (0.05, True)])
def test_threads_meet_in_a_call_only_where_that_saves_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faster: float, meets: bool
) -> None:
    # Callers at once add up on this clock as they do on one core.
    Clock(monkeypatch, {1: 0.001, 2: 0.001 * (faster if meets else 0.9)}, each_image=0.0)
    bundle = colour_bundle(tmp_path)
    single = OnnxModel(bundle)
    chosen, _ = calibrate(bundle, single, cores=2)
    assert (chosen is not single) == meets


def test_it_takes_a_moment_even_where_a_call_takes_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, {1: 0.0, 2: 0.02}, each_image=0.03)
    bundle = colour_bundle(tmp_path)
    calibrate(bundle, OnnxModel(bundle), cores=2)
    assert clock.calls[1] + clock.calls[2] <= 6
