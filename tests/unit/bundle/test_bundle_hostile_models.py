from pathlib import Path

import numpy as np
import pytest

from cifarops.bundle.runtime import OnnxFile
from cifarops.data.preprocess import Preprocessing
from cifarops.errors import IntegrityError
from tests.support.bundles import SIZE
from tests.support.hostile_models import with_data_in, with_foreign_operator, with_promised_weights


def load(model: bytes) -> OnnxFile:
    return OnnxFile(model, Preprocessing(size=SIZE, mean=(0.5,) * 3, std=(0.25,) * 3), name="the model")


@pytest.mark.parametrize("place", ["here", "./here", "link", "inner/../here", "../outside", "absolute"])
def test_weights_in_another_file_are_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    for path in (folder / "here", tmp_path / "outside"):
        np.eye(3, dtype=np.float32).tofile(path)
    (folder / "link").symlink_to(tmp_path / "outside")
    monkeypatch.chdir(folder)
    location = str(tmp_path / "outside") if place == "absolute" else place
    with pytest.raises(IntegrityError, match="can't load the model"):
        load(with_data_in(location))


def test_an_operator_that_nobody_knows_is_refused() -> None:
    with pytest.raises(IntegrityError, match="Anything"):
        load(with_foreign_operator())


@pytest.mark.parametrize("dims", [(SIZE, 2**40), (2**31, 2**31), (2**62, 4), (SIZE, -1), (0, 0)])
def test_weights_that_are_only_promised_are_refused(dims: tuple[int, int]) -> None:
    with pytest.raises(IntegrityError, match="can't load the model"):
        load(with_promised_weights(*dims))
