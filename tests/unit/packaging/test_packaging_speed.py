from pathlib import Path

import pytest

from cifarops.packaging import speed
from cifarops.packaging.speed import RECORD, measure_speed, read_speed
from tests.support.bundles import colour_bundle


def test_a_run_is_measured_once(tmp_path: Path) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    model, preprocessing = bundle.model_path.read_bytes(), bundle.manifest.preprocessing
    assert read_speed(tmp_path) is None
    first = measure_speed(model, model, preprocessing, tmp_path)
    assert first.float32_ms > 0
    assert first.factor == first.float32_ms / first.int8_ms
    assert measure_speed(model, model, preprocessing, tmp_path) == first == read_speed(tmp_path)


def test_what_was_measured_elsewhere_or_is_damaged_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    model, preprocessing = bundle.model_path.read_bytes(), bundle.manifest.preprocessing
    first = measure_speed(model, model, preprocessing, tmp_path)
    other = colour_bundle(tmp_path / "bundles", rotation=1).model_path.read_bytes()
    assert measure_speed(model, other, preprocessing, tmp_path).measured != first.measured
    monkeypatch.setattr(speed, "processor_name", lambda: "another")
    assert measure_speed(model, model, preprocessing, tmp_path).measured != first.measured
    (tmp_path / RECORD).write_text("{}")
    assert measure_speed(model, model, preprocessing, tmp_path).int8_ms > 0
