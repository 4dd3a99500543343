from pathlib import Path

import numpy as np
import pytest

from cifarops.errors import DataError, IntegrityError, UsageError
from cifarops.serving.engine import Engine
from tests.support.bundles import COLOURS, SIZE, colour_bundle, colour_image, unloadable_bundle


def test_an_answer_holds_label_probabilities_and_the_image_seen(tmp_path: Path) -> None:
    engine = Engine(tmp_path, colour_bundle(tmp_path).digest, 4)
    assert (engine.version, engine.classes) == (4, COLOURS)
    outcome = engine.answer(colour_image("blue"))
    assert outcome.label == int(outcome.probabilities.argmax()) == COLOURS.index("blue")
    assert outcome.probabilities.sum() == pytest.approx(1)
    assert outcome.image.shape == (SIZE, SIZE, 3)
    assert outcome.image.dtype == np.uint8


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    engine = Engine(tmp_path, colour_bundle(tmp_path).digest, 1)
    with pytest.raises(DataError, match="not a PNG, JPEG or WebP"):
        engine.answer(b"GIF89a")


def test_a_bundle_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="abcdef"):
        Engine(tmp_path, "abcdef", 1)


def test_a_model_that_does_not_answer_as_described_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="can't load"):
        Engine(tmp_path, unloadable_bundle(tmp_path).digest, 1)
    with pytest.raises(IntegrityError, match=r"shape \(1, 4\)"):
        Engine(tmp_path, colour_bundle(tmp_path, outputs=4).digest, 1)
