"""Tensors on disk: one safetensors file with a JSON description inside, replaced in one step. Never pickled."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from cifarops.errors import IntegrityError, UsageError
from cifarops.files import write_atomic

_KEY = "cifarops"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Replace `path` by a file with `tensors` and the JSON `description`."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    write_atomic(path, save(contiguous, {_KEY: json.dumps(description, sort_keys=True)}))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        UsageError: There is no such file.
        IntegrityError: It is damaged.
    """
    if not path.is_file():
        raise UsageError(f"There is no {path}.", fix="Train a new run: cifarops train.")
    try:
        with safe_open(path, "pt") as file:
            description = json.loads((file.metadata() or {})[_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, description  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise IntegrityError(
            f"{path} is damaged: {error}.", fix=f"Delete {path.parent} and train again."
        ) from error


def copy_tensors(source: Mapping[str, Tensor], target: Mapping[str, Tensor], *, path: Path) -> None:
    """Copy `source` into the tensors of `target`, in place.

    Args:
        source: Tensors by name, read from `path`.
        target: Tensors by name, of the network in memory.
        path: Named in the message.

    Raises:
        UsageError: Names or shapes differ: the file belongs to another network.
    """
    difference = _difference(source, target)
    if difference:
        raise UsageError(
            f"{path} belongs to another network: {difference}.",
            fix="Use the same train.widths, train.depths, image size and classes as that run, or start afresh.",
        )
    with torch.no_grad():
        for name, tensor in target.items():
            tensor.copy_(source[name])


def _difference(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> str | None:
    for name in sorted({*source, *target}):
        if name not in source or name not in target:
            return f"{name} is only in {'the file' if name in source else 'this network'}"
        if source[name].shape != target[name].shape:
            return f"{name} has shape {tuple(source[name].shape)}, not {tuple(target[name].shape)}"
    return None
