import numpy as np
import pytest

from cifarops.bundle.manifest import Serving
from cifarops.packaging.serving import choose_served

IMAGES, CLASSES = 4000, 4
LABELS = np.arange(IMAGES) % CLASSES
RIGHT = np.eye(CLASSES, dtype=np.float32)[LABELS]


def served(wrong: int, *, images: int = IMAGES, factor: float = 2.0, supported: bool = True) -> Serving:
    """The choice when int8 alone gets `wrong` images wrong."""
    rounded = RIGHT[:images].copy()
    rounded[:wrong] = np.roll(rounded[:wrong], 1, axis=1)
    return choose_served(RIGHT[:images], rounded, LABELS[:images], factor=factor, supported=supported)


def test_int8_answers_where_it_is_faster_and_as_good() -> None:
    chosen = served(12)
    assert (chosen.precision, chosen.images) == ("int8", IMAGES)
    assert chosen.equal_predictions == 1 - 12 / IMAGES
    assert chosen.difference == pytest.approx(-0.003)
    assert chosen.difference_low < chosen.difference < chosen.difference_high


@pytest.mark.parametrize(
    ("wrong", "options", "reason"),
    [
        (13, {}, "loses 0.33 points of accuracy, more than 0.3"),
        (0, {"images": 200}, "200 images don't rule out that int8 loses 1 point"),
        (0, {"factor": 1.19}, "not 1.2 times as fast"),
        (0, {"supported": False}, "without instructions for int8"),
    ],
)
def test_otherwise_float32_answers_and_says_why(wrong: int, options: dict[str, float], reason: str) -> None:
    chosen = served(wrong, **options)  # type: ignore[arg-type]
    assert chosen.precision == "float32"
    assert reason in chosen.reason


def test_answers_that_are_no_numbers_are_never_served() -> None:
    chosen = choose_served(RIGHT, np.full_like(RIGHT, np.nan), LABELS, factor=9.0, supported=True)
    assert chosen.precision == "float32"
    assert "NaN" in chosen.reason


def test_a_better_int8_is_no_loss() -> None:
    chosen = choose_served(np.roll(RIGHT, 1, axis=1), RIGHT, LABELS, factor=2.0, supported=True)
    assert (chosen.precision, chosen.difference) == ("int8", 1.0)
