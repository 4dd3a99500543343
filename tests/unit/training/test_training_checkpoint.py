from pathlib import Path

import pytest
import torch

from cifarops.errors import IntegrityError, UsageError
from cifarops.training.checkpoint import copy_tensors, load_tensors, save_tensors


def test_tensors_and_description_come_back(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "b": torch.arange(3),
        "c": torch.randn(5).bfloat16(),
    }
    save_tensors(tmp_path / "x.safetensors", tensors, {"step": 7, "curve": [1.5]})
    loaded, description = load_tensors(tmp_path / "x.safetensors")
    assert description == {"step": 7, "curve": [1.5]}
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(10)}, {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IntegrityError, match="damaged"):
        load_tensors(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no"):
        load_tensors(tmp_path / "none.safetensors")


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(IntegrityError, match="damaged"):
        load_tensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"a": torch.zeros(3)}, "a has shape"),
        ({"b": torch.zeros(2)}, "a is only in this network"),
        ({"a": torch.zeros(2), "b": torch.zeros(2)}, "b is only in the file"),
    ],
)
def test_tensors_of_another_network_are_refused_untouched(source: dict[str, torch.Tensor], says: str) -> None:
    target = {"a": torch.ones(2)}
    with pytest.raises(UsageError, match=says):
        copy_tensors(source, target, path=Path("run"))
    assert target["a"].tolist() == [1, 1]
