"""A snapshot and parameters at which a training takes a second."""

import uuid
from pathlib import Path
from typing import Any

import torch

from cifarops.bundle.manifest import CodeIdentity
from cifarops.config import Params, load_params
from cifarops.data.preprocess import Preprocessing
from cifarops.data.snapshot import Arrays, Snapshot, SourceInfo, Split, write_snapshot
from cifarops.training.checkpoint import save_tensors
from cifarops.training.loop import Loop
from cifarops.training.run import WEIGHTS, Plan, Run
from tests.support.bundles import COLOURS
from tests.support.snapshots import colour_arrays

PARAMS = Path(__file__).parents[2] / "params.yaml"
_SOURCE = SourceInfo(kind="synthetic", name="colours", sha256="0" * 64)
_COUNTS: dict[Split, int] = {"train": 192, "valid": 90, "test": 30}


def tiny_snapshot(root: Path, *, size: int = 16, wrong: float = 0.0, train: Arrays | None = None) -> Snapshot:
    """Write a snapshot of coloured images; `wrong` of the labels lie, `train` replaces that split."""
    splits = {
        split: colour_arrays(count, wrong=wrong, size=size, seed=seed)
        for seed, (split, count) in enumerate(_COUNTS.items())
    }
    if train is not None:
        splits["train"] = train
    preprocessing = Preprocessing.fitted(splits["train"][0])
    return write_snapshot(root, splits, classes=COLOURS, preprocessing=preprocessing, source=_SOURCE, seed=0)


def tiny_params(**train: Any) -> Params:
    """Return the smoke profile with a network of a few filters; `train` overrides."""
    tiny = {
        "widths": [16, 16, 32],
        "depths": [1, 1, 1],
        "batch_size": 32,
        "epochs": 2,
        "precision": "float32",
    }
    return load_params(PARAMS, "smoke", {"train": {**tiny, **train}})


def made_run(runs: Path, snapshot: Snapshot, params: Params, *, steps: int = 12) -> Run:
    """Train a few steps without tracking and write the run."""
    loop = Loop(snapshot, params.train, dtype=torch.float32)
    for number in range(steps):
        loop.step(number % loop.steps)
    plan = Plan(
        id=uuid.uuid4().hex,
        path=runs / "run",
        snapshot=snapshot.id,
        params=params,
        precision="float32",
        threads=1,
        warm_start=None,
        code=CodeIdentity(version="1", commit=None, dirty=False),
    )
    plan.save()
    run = Run.of(plan, valid_accuracy=0.5, seconds=1.0, epochs=2.0, images_per_second=10.0)
    save_tensors(run.path / WEIGHTS, loop.network.state_dict(), {})
    run.save()
    return run
