import json
from pathlib import Path

import pytest

from cifarops.training.precision import choose_precision


@pytest.mark.parametrize("wanted", ["float32", "bfloat16"])
def test_what_is_asked_for_is_not_measured(tmp_path: Path, wanted: str) -> None:
    assert choose_precision(wanted, tmp_path) == wanted  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_measurement_decides_and_is_remembered(tmp_path: Path) -> None:
    chosen = choose_precision("auto", tmp_path)
    (record,) = tmp_path.iterdir()
    document = json.loads(record.read_text())
    faster = document["seconds"]["bfloat16"] < 0.9 * document["seconds"]["float32"]
    assert chosen == document["precision"] == ("bfloat16" if faster else "float32")

    other = "float32" if chosen == "bfloat16" else "bfloat16"
    record.write_text(json.dumps({"precision": other}))
    assert choose_precision("auto", tmp_path) == other


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"precision": "int4"}'])
def test_a_damaged_record_is_measured_again(tmp_path: Path, content: str) -> None:
    chosen = choose_precision("auto", tmp_path)
    (record,) = tmp_path.iterdir()
    record.write_text(content)
    assert choose_precision("auto", tmp_path) in ("float32", "bfloat16")
    assert json.loads(record.read_text())["seconds"].keys() == {"float32", "bfloat16"}
    assert chosen in ("float32", "bfloat16")
