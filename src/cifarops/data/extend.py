"""A snapshot grown by newly labelled images from production, to retrain on."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarops.data.snapshot import Arrays, Snapshot, SourceInfo, Split, write_snapshot
from cifarops.data.splits import stratified
from cifarops.errors import DataError

MIN_IMAGES = 10
_VALID_SHARE = 0.1
_ORIGIN = " + "


def extend_snapshot(
    root: Path,
    base: Snapshot,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    seed: int,
    recent_fraction: float = 0.4,
    repeat: int = 1,
    name: str,
) -> Snapshot:
    """Write a snapshot that holds `base` and new images.

    Of the new images, a share is held out as the split `recent`, for the gate; of the rest, nine tenths join `train`,
    `repeat` times, and one tenth joins `valid`, all stratified by class. `test` stays as it is, so that verdicts can be compared. What was
    `recent` in `base` has done its work and joins `train`.

    The preprocessing is that of `base`, not fitted again: a network trained on from the old weights must see a pixel as
    the same number as before.

    Args:
        root: Directory of snapshots.
        base: The snapshot to extend.
        images: uint8 (N, S, S, 3), at the size of `base`.
        labels: int64 (N,), indices into the classes of `base`.
        seed: Seed of the split, recorded.
        recent_fraction: Share held out, in (0, 1).
        repeat: How often a new image stands in `train`, so that few new ones are not lost among many old ones.
        name: What these images are, for people.

    Raises:
        DataError: Wrong shape or labels, or fewer than 10 images.
    """
    _require_fit(base, images, labels)
    rng = np.random.default_rng(seed)
    is_recent = stratified(labels, recent_fraction, rng)
    is_valid = np.zeros_like(is_recent)
    is_valid[~is_recent] = stratified(labels[~is_recent], _VALID_SHARE, rng)
    is_train = ~is_recent & ~is_valid
    old_recent = [_arrays(base, "recent")] if "recent" in base.meta.splits else []
    new = [(images[is_train], labels[is_train])] * repeat
    splits: dict[Split, Arrays] = {
        "train": _joined(_arrays(base, "train"), *old_recent, *new),
        "valid": _joined(_arrays(base, "valid"), (images[is_valid], labels[is_valid])),
        "test": _arrays(base, "test"),
        "recent": (images[is_recent], labels[is_recent]),
    }
    return write_snapshot(
        root,
        splits,
        classes=base.classes,
        preprocessing=base.meta.preprocessing,
        source=SourceInfo(
            kind="retraining",
            name=f"{name}{_ORIGIN}{_root_source(base.meta.source)}",
            sha256=hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest(),
        ),
        seed=seed,
        parent=base.id,
    )


def _root_source(source: SourceInfo) -> str:
    """Name the kind of source that a chain of retrainings began with."""
    return source.name.rpartition(_ORIGIN)[2] if source.kind == "retraining" else source.kind


def _arrays(snapshot: Snapshot, split: Split) -> Arrays:
    return snapshot.images(split), snapshot.labels(split)


def _joined(*parts: Arrays) -> Arrays:
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _require_fit(base: Snapshot, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    size = base.meta.preprocessing.size
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise DataError(
            f"New images are {images.dtype} {images.shape[1:]}; snapshot {base.id} has uint8 ({size}, {size}, 3).",
            fix="Decode them with the snapshot's preprocessing.",
        )
    if len(images) != len(labels):
        raise DataError(
            f"There are {len(images)} new images and {len(labels)} labels.", fix="Give one label each."
        )
    if len(images) < MIN_IMAGES:
        raise DataError(
            f"Only {len(images)} new labelled images; retraining needs {MIN_IMAGES} at least.",
            fix="Wait for more labels, or send feedback for more predictions.",
        )
    if labels.min() < 0 or labels.max() >= len(base.classes):
        raise DataError(
            f"New labels run from {labels.min()} to {labels.max()}; the classes are 0 to {len(base.classes) - 1}.",
            fix="Use only the classes of the snapshot.",
        )
