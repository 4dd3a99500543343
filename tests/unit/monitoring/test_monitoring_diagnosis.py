import numpy as np
import pytest
from numpy.typing import NDArray

from cifarops.monitoring.detectors import Sample
from cifarops.monitoring.diagnosis import Cause, Diagnosis, diagnose
from cifarops.monitoring.views import Group

SIZE = 8
NAMES = tuple(f"view {k}" for k in range(SIZE))
GROUPS: tuple[Group, ...] = tuple("outputs" for _ in range(SIZE))
CLASSES = ("cat", "dog", "owl")
_CENTRES = np.random.default_rng(0).normal(0, 1, (3, SIZE))
_WAYS = np.random.default_rng(1).normal(0, 1.5, (3, SIZE)).astype(np.float32)
CAUSES = [
    Cause("covariate shift", "fog", 2, _WAYS[0]),
    Cause("covariate shift", "fog", 4, 2 * _WAYS[0]),
    Cause("covariate shift", "snow", 3, _WAYS[1]),
    Cause("broken input", "swapped_colours", None, _WAYS[2]),
]


def sample(
    count: int,
    seed: int,
    *,
    way: NDArray[np.floating] | None = None,
    share: float = 1.0,
    mix: tuple[float, ...] = (1 / 3, 1 / 3, 1 / 3),
) -> tuple[Sample, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=mix)
    views = (rng.normal(0, 1, (count, SIZE)) + _CENTRES[labels]).astype(np.float32) - _CENTRES.mean(axis=0)
    if way is not None:
        views[rng.random(count) < share] += way
    return Sample(labels, views.astype(np.float32), NAMES, GROUPS, CLASSES), labels


REFERENCE, LABELS = sample(2000, 2)


def found(window: tuple[Sample, NDArray[np.int64]], causes: list[Cause] = CAUSES) -> Diagnosis:
    return diagnose(window[0], REFERENCE, LABELS, causes)


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: f"{cause.name}-{cause.severity}")
def test_a_known_cause_is_named_with_its_kind(cause: Cause) -> None:
    diagnosis = found(sample(200, 3, way=cause.moved))
    assert (diagnosis.kind, diagnosis.cause) == (cause.kind, cause.name)
    assert diagnosis.explained > 0.8
    assert diagnosis.share == pytest.approx(1, abs=0.55)  # half of severity 4 is severity 2
    assert cause.name.replace("_", " ") in diagnosis.sentence


def test_a_share_of_the_images_is_estimated() -> None:
    diagnosis = found(sample(1000, 4, way=_WAYS[1], share=0.3))
    assert (diagnosis.cause, diagnosis.kind) == ("snow", "covariate shift")
    assert diagnosis.share == pytest.approx(0.3, abs=0.08)
    assert diagnosis.sentence.startswith("About 3")


def test_another_mix_of_classes_is_a_label_shift_with_interval() -> None:
    diagnosis = found(sample(1000, 5, mix=(0.1, 0.2, 0.7)))
    assert (diagnosis.kind, diagnosis.cause) == ("label shift", "owl")
    assert diagnosis.mix is not None
    assert diagnosis.mix["owl"].low <= 0.7 <= diagnosis.mix["owl"].high
    assert "'owl' is now" in diagnosis.sentence


def test_what_nothing_explains_is_new_content() -> None:
    away = np.linalg.svd(np.vstack([_WAYS, _CENTRES]))[2][-1]
    diagnosis = found(sample(300, 6, way=4 * away))
    assert (diagnosis.kind, diagnosis.cause) == ("new content", None)


def test_only_the_newest_images_that_moved_are_looked_at() -> None:
    before, _ = sample(900, 7)
    after, _ = sample(60, 8, way=_WAYS[0])
    both = Sample(
        np.concatenate([before.predicted, after.predicted]),
        np.concatenate([before.views, after.views]),
        NAMES,
        GROUPS,
        CLASSES,
    )
    diagnosis = diagnose(both, REFERENCE, LABELS, CAUSES)
    assert diagnosis.cause == "fog"
    assert diagnosis.images <= 128
