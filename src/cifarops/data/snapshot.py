"""A snapshot: an immutable, content-addressed data set.

One directory `ID/`: `SPLIT.images.npy` (uint8, N×S×S×3), `SPLIT.labels.npy` (int64, N) and `snapshot.json`. The id is
the SHA-256 of `snapshot.json`, which holds the hash of every array and no time, so the same input gives the same bytes.
"""

import hashlib
import io
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cifarops.data.preprocess import Preprocessing
from cifarops.errors import IntegrityError, UsageError
from cifarops.files import canonical_json, publish_directory, sha256_file, staged_directory

Split = Literal["train", "valid", "test", "recent"]
Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]
_Part = Literal["images", "labels"]
_ID_LENGTH = 16


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Finding(_Frozen):
    """One kind of problem found by validation, with what was done about it."""

    check: str
    severity: Literal["error", "warning", "info"]
    action: Literal["fail", "drop", "warn"]
    count: int
    message: str
    examples: tuple[str, ...] = ()


class SplitInfo(_Frozen):
    """Size and identity of one split; `per_class` follows the order of the class names."""

    count: int
    per_class: tuple[int, ...]
    images_sha256: str
    labels_sha256: str


class SourceInfo(_Frozen):
    """Where the images came from; `sha256` identifies the archive or the drawing program's parameters."""

    kind: Literal["cifar10", "folder", "synthetic", "retraining"]
    name: str
    sha256: str


class SnapshotMeta(_Frozen):
    """What `snapshot.json` holds.

    Attributes:
        parent: Id of the snapshot this one extends (retraining), or None.
    """

    schema_version: Literal[1] = 1
    source: SourceInfo
    seed: int
    parent: str | None = None
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    splits: dict[Split, SplitInfo]
    findings: tuple[Finding, ...] = ()


class Snapshot:
    """A snapshot on disk. Arrays are memory-mapped, read-only, and compared with their hash when they are opened.

    Args:
        path: The snapshot's directory.
        meta: Its parsed `snapshot.json`.
    """

    def __init__(self, path: Path, meta: SnapshotMeta) -> None:
        self.path = path
        self.meta = meta

    @property
    def id(self) -> str:
        """The content address: 16 hex digits."""
        return self.path.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; label k is `classes[k]`."""
        return self.meta.classes

    @property
    def counts(self) -> dict[Split, int]:
        """Number of images of each split, `train` first."""
        return {
            split: self.meta.splits[split].count for split in get_args(Split) if split in self.meta.splits
        }

    @property
    def is_synthetic(self) -> bool:
        """Whether the images were drawn by the program, so that every number must say so."""
        return self.meta.source.kind == "synthetic" or "synthetic" in self.meta.source.name

    def images(self, split: Split) -> NDArray[np.uint8]:
        """Images of a split: uint8 (N, S, S, 3), memory-mapped."""
        return self._load(split, "images")

    def labels(self, split: Split) -> NDArray[np.int64]:
        """Labels of a split: int64 (N,), in [0, number of classes)."""
        return self._load(split, "labels")

    def verify(self) -> None:
        """Compare every array with its recorded hash.

        Raises:
            IntegrityError: A file is missing or differs.
        """
        for split in self.meta.splits:
            self._verified(split, "images")
            self._verified(split, "labels")

    def _load(self, split: Split, part: _Part) -> NDArray[Any]:
        if split not in self.meta.splits:
            raise UsageError(
                f"Snapshot {self.id} has no split {split!r}.",
                fix=f"It has: {', '.join(self.meta.splits)}.",
            )
        array: NDArray[Any] = np.load(self._verified(split, part), mmap_mode="r", allow_pickle=False)
        return array

    def _verified(self, split: Split, part: _Part) -> Path:
        info = self.meta.splits[split]
        path = self.path / f"{split}.{part}.npy"
        expected = info.images_sha256 if part == "images" else info.labels_sha256
        if not path.is_file() or sha256_file(path) != expected:
            raise _damaged(self.path, f"{path.name} is missing or its hash differs")
        return path


def open_snapshot(root: Path, snapshot_id: str) -> Snapshot:
    """Open a snapshot by id (or a unique beginning of one) under `root`.

    Raises:
        UsageError: There is no such snapshot, or the beginning fits several.
        IntegrityError: Its description is damaged.
    """
    matches = sorted(root.glob(f"{snapshot_id}*/snapshot.json")) if snapshot_id.isalnum() else []
    if len(matches) != 1:
        raise UsageError(
            f"{len(matches) or 'No'} snapshots under {root} begin with {snapshot_id!r}.",
            fix="List them with: cifarops data list. Make one with: cifarops data ingest.",
        )
    content = matches[0].read_bytes()
    path = matches[0].parent
    if _address(content) != path.name:
        raise _damaged(path, "snapshot.json does not match its id")
    try:
        return Snapshot(path, SnapshotMeta.model_validate_json(content))
    except ValidationError as error:
        raise _damaged(path, str(error)) from error


def newest_snapshot(root: Path) -> Snapshot:
    """Open the snapshot under `root` that was written last.

    Raises:
        UsageError: There is none.
    """
    found = sorted(root.glob("*/snapshot.json"), key=lambda path: path.parent.stat().st_mtime)
    if not found:
        raise UsageError(f"There is no snapshot under {root}.", fix="Make one: cifarops data ingest.")
    return open_snapshot(root, found[-1].parent.name)


def list_snapshots(root: Path) -> list[Snapshot]:
    """Open every intact snapshot under `root`, in the order of ids; damaged ones are left out."""
    found = []
    for path in sorted(root.glob("*/snapshot.json")):
        with suppress(UsageError, IntegrityError):
            found.append(open_snapshot(root, path.parent.name))
    return found


def write_snapshot(
    root: Path,
    splits: dict[Split, Arrays],
    *,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    source: SourceInfo,
    seed: int,
    findings: tuple[Finding, ...] = (),
    parent: str | None = None,
) -> Snapshot:
    """Write a snapshot in one step and return it; if it exists already, return that.

    Args:
        root: Directory of snapshots.
        splits: For each split, images uint8 (N, S, S, 3) and labels int64 (N,).
        classes: Class names in label order.
        preprocessing: How the images become network input.
        source: Where they came from.
        seed: The seed that made the splits.
        findings: What validation found.
        parent: Id of the snapshot this one extends.
    """
    with staged_directory(root) as staged:
        infos = {
            split: SplitInfo(
                count=len(labels),
                per_class=tuple(np.bincount(labels, minlength=len(classes)).tolist()),
                images_sha256=_save(staged / f"{split}.images.npy", images),
                labels_sha256=_save(staged / f"{split}.labels.npy", labels),
            )
            for split, (images, labels) in splits.items()
        }
        meta = SnapshotMeta(
            source=source,
            seed=seed,
            parent=parent,
            classes=classes,
            preprocessing=preprocessing,
            splits=infos,
            findings=findings,
        )
        content = canonical_json(meta.model_dump(mode="json"))
        (staged / "snapshot.json").write_bytes(content)
        target = root / _address(content)
        if not target.exists():
            publish_directory(staged, target)
    if not (target / "snapshot.json").is_file():
        raise _damaged(target, "someone deleted its snapshot.json")
    return open_snapshot(root, target.name)


def _save(path: Path, array: NDArray[Any]) -> str:
    """Write a .npy file and return its SHA-256, computed on the way instead of by reading it again."""
    contiguous = np.ascontiguousarray(array)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(contiguous))
    body = contiguous.data.cast("B")
    digest = hashlib.sha256(header.getvalue())
    digest.update(body)
    with path.open("wb") as file:
        file.write(header.getvalue())
        file.write(body)
    return digest.hexdigest()


def _address(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:_ID_LENGTH]


def _damaged(path: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"Snapshot {path.name} is damaged: {what}.",
        fix=f"Delete {path} and run cifarops data ingest again.",
    )
