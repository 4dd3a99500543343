import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from cifarops.bundle.runtime import OnnxModel
from cifarops.bundle.store import Bundle
from cifarops.data.preprocess import decode
from cifarops.errors import ConflictError, DataError, UsageError
from cifarops.scoring import score as scoring
from cifarops.scoring.images import Image
from cifarops.scoring.rows import Rows
from cifarops.scoring.score import score
from tests.support.bundles import COLOURS, SIZE, colour_bundle, colour_image

IMAGES = 200
BROKEN = (0, 77, IMAGES - 1)


class StoppedError(Exception):
    """What interrupts a scoring in these tests."""


def stop_halfway(what: str, done: int, total: int, note: str = "") -> None:
    if done >= IMAGES // 2:
        raise StoppedError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number in range(IMAGES):
        content = colour_image(COLOURS[number % 3], seed=number)
        name = f'{number:03d}, taken "here".png'
        (folder / name).write_bytes(content[:40] if number in BROKEN else content)
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return colour_bundle(tmp_path_factory.mktemp("bundles"))


def test_every_image_has_a_row_with_the_models_answer(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    scored = score(folder, tmp_path / "out.csv", bundle)
    assert (scored.images, scored.unreadable, scored.resumed) == (IMAGES, len(BROKEN), 0)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == sorted(path.name for path in folder.iterdir())
    model = OnnxModel(bundle)
    for number, row in enumerate(rows):
        if number in BROKEN:
            assert row["error"]
            assert not any((row["label"], row["confidence"], row["p_red"]))
            continue
        expected = model.probabilities(decode((folder / row["image"]).read_bytes(), SIZE).pixels[None])[0]
        assert [float(row[f"p_{name}"]) for name in COLOURS] == pytest.approx(expected.tolist(), abs=1e-6)
        assert row["label"] == COLOURS[number % 3] == COLOURS[int(expected.argmax())]
        assert float(row["confidence"]) == pytest.approx(float(expected.max()), abs=1e-6)
        assert not row["error"]


def test_the_formats_say_the_same(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        score(folder, tmp_path / f"out.{suffix}", bundle)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(line) for line in lines] == [list(row) for row in rows] == [list(row) for row in table]
    for line, row, record in zip(lines, rows, table, strict=True):
        assert {name: "" if value is None else str(value) for name, value in line.items()} == row
        assert record == pytest.approx(line, abs=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"out.csv", "out.jsonl", "out.parquet"}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_what_was_interrupted_goes_on_without_an_image_twice_or_lost(
    folder: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(scoring, "_CHUNK", 7)
    whole, target = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    score(folder, whole, bundle)

    with pytest.raises(StoppedError):
        score(folder, target, bundle, progress=stop_halfway)
    assert not target.exists()
    part = tmp_path / f"out.{suffix}.part"
    with part.open("ab") as file:  # rows that were written but don't count yet, the last of them torn
        file.write(b"torn, row")
    scored = score(folder, target, bundle)
    assert 0 < scored.resumed < IMAGES
    assert (scored.images, scored.unreadable) == (IMAGES, len(BROKEN))
    assert target.read_bytes() == whole.read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {whole.name, target.name}


def test_rows_of_something_else_are_not_gone_on_with(
    folder: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "_CHUNK", 7)
    target = tmp_path / "out.csv"
    with pytest.raises(StoppedError):
        score(folder, target, bundle, progress=stop_halfway)
    other = colour_bundle(tmp_path / "bundles", rotation=1)
    with pytest.raises(UsageError, match="another model"):
        score(folder, target, other)
    assert score(folder, target, bundle).resumed > 0


def test_nothing_is_left_of_what_could_not_begin(bundle: Bundle, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for origin, error in ((empty, "has no images"), (tmp_path / "missing", "There is no")):
        with pytest.raises(DataError, match=error):
            score(origin, tmp_path / "out.csv", bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_a_target_that_can_not_be_is_refused(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ends in none of"):
        score(folder, tmp_path / "out.xlsx", bundle)
    with pytest.raises(UsageError, match="There is no directory"):
        score(folder, tmp_path / "missing" / "out.csv", bundle)
    (tmp_path / "out.csv").touch()
    with pytest.raises(UsageError, match="already there"):
        score(folder, tmp_path / "out.csv", bundle)


def test_two_at_once_are_told(folder: Path, bundle: Bundle, tmp_path: Path) -> None:
    refused: list[str] = []

    def second(what: str, done: int, total: int, note: str = "") -> None:
        with pytest.raises(ConflictError) as caught:
            score(folder, tmp_path / "out.csv", bundle)
        refused.append(caught.value.message)

    score(folder, tmp_path / "out.csv", bundle, progress=second)
    assert refused
    assert "Another process is writing" in refused[0]


def test_large_files_make_small_chunks() -> None:
    images = [Image(str(number), bytes(scoring._CHUNK_BYTES // 3)) for number in range(10)]
    chunks = list(scoring._chunks(iter(images)))
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    assert [image for chunk in chunks for image in chunk] == images


def test_probabilities_are_written_for_the_images_they_belong_to(bundle: Bundle) -> None:
    rows = Rows(("a", "b"), "jsonl")
    images = [Image("x", b""), Image("y", None), Image("z", b"")]
    text = rows.write(images, [None, "broken", None], np.array([[0.9, 0.1], [0.2, 0.8]], np.float32))
    assert [json.loads(line)["label"] for line in text.splitlines()] == ["a", None, "b"]
