"""From a source to a snapshot: read, split, validate, write. Done before with the same input: only looked up."""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cifarops.config import DataParams
from cifarops.data.snapshot import Snapshot, open_snapshot
from cifarops.errors import CifaropsError, UsageError
from cifarops.files import canonical_json, write_atomic
from cifarops.progress import Progress, silent

if TYPE_CHECKING:
    from cifarops.data.sources.raw import RawImages

# Counted up whenever the same parameters and input would give another snapshot.
VERSION = 1


@dataclass(frozen=True)
class Ingested:
    """What `ingest` made or found.

    Attributes:
        snapshot: The snapshot.
        cached: Whether it was there already.
        seconds: How long it took.
    """

    snapshot: Snapshot
    cached: bool
    seconds: float


def ingest(
    params: DataParams,
    *,
    origin: str | Path | None,
    snapshots: Path,
    downloads: Path,
    cache: Path,
    cifar10_url: str,
    progress: Progress = silent,
) -> Ingested:
    """Turn a source into a snapshot.

    Safe to kill at any moment and to run twice at once: a snapshot appears whole or not at all, under a name that its
    content decides.

    Args:
        params: Which source, and how it is split and validated.
        origin: File or directory of the `folder` source; for `cifar10`, a local archive or the URL of one in place of
            the official address; None for `synthetic`.
        snapshots: Where snapshots are kept.
        downloads: Where fetched archives are kept.
        cache: Where it is noted which input gave which snapshot.
        cifar10_url: Directory URL of the official archives.
        progress: Told how far it is.

    Raises:
        UsageError: The origin is missing, does not exist or does not fit the source.
        DataError: The data cannot be used.
        UnavailableError: The archive cannot be fetched.
    """
    started = time.perf_counter()
    place = _require_origin(params, origin)
    note = cache / "ingest" / f"{_key(params, place)}.json"
    snapshot = _noted(note, snapshots)
    if snapshot is not None:
        return Ingested(snapshot, True, time.perf_counter() - started)
    raw = _read(params, place, downloads, cifar10_url, progress)
    snapshot = _make_snapshot(raw, params, snapshots, progress)
    write_atomic(note, canonical_json({"snapshot": snapshot.id}))
    return Ingested(snapshot, False, time.perf_counter() - started)


def _require_origin(params: DataParams, origin: str | Path | None) -> str | Path | None:
    """Return the origin as a path if it is local."""
    if params.source == "synthetic":
        if origin is not None:
            raise UsageError(
                f"The synthetic source reads nothing, but {origin} was given.",
                fix="Leave --from out, or choose --source folder or cifar10.",
            )
        return None
    if origin is None:
        if params.source == "folder":
            raise UsageError(
                "The folder source needs to know where the images are.",
                fix="Name a directory of class folders, or a tar, tar.gz or zip of one: --from PATH.",
            )
        return None
    text = str(origin).removeprefix("file://")
    if "://" in text:
        if params.source == "folder":
            raise UsageError(
                f"The folder source reads local files, not {origin}.",
                fix="Fetch it first, then give its path.",
            )
        return text
    path = Path(text).expanduser()
    if not path.exists():
        raise UsageError(f"There is no {path}.", fix="Correct the path given with --from.")
    return path


def _key(params: DataParams, origin: str | Path | None) -> str:
    """Name the input: parameters, and for local files their sizes and times."""
    document = {"version": VERSION, "params": params.model_dump(), "origin": _identity(origin)}
    return hashlib.sha256(canonical_json(document)).hexdigest()


def _identity(origin: str | Path | None) -> Any:
    if not isinstance(origin, Path):
        return origin
    if origin.is_dir():
        from cifarops.data.sources.members import stamp_directory

        return [str(origin.resolve()), stamp_directory(origin)]
    status = origin.stat()
    return [str(origin.resolve()), status.st_size, status.st_mtime_ns]


def _noted(note: Path, snapshots: Path) -> Snapshot | None:
    try:
        return open_snapshot(snapshots, str(json.loads(note.read_bytes())["snapshot"]))
    except (OSError, ValueError, KeyError, TypeError, CifaropsError):
        return None  # never made, or deleted or damaged since: then it is made again


def _read(
    params: DataParams, origin: str | Path | None, downloads: Path, cifar10_url: str, progress: Progress
) -> "RawImages":
    if params.source == "synthetic":
        from cifarops.data.sources.synthetic import read_synthetic

        return read_synthetic(params, progress)
    if params.source == "folder":
        from cifarops.data.sources.folder import read_folder

        return read_folder(Path(str(origin)), params.image_size, progress)
    from cifarops.data.sources.cifar10 import read_cifar10

    return read_cifar10(
        origin, params.image_size, downloads=downloads, directory_url=cifar10_url, progress=progress
    )


def _make_snapshot(raw: "RawImages", params: DataParams, snapshots: Path, progress: Progress) -> Snapshot:
    from cifarops.data.preprocess import Preprocessing
    from cifarops.data.snapshot import write_snapshot
    from cifarops.data.splits import assign_splits
    from cifarops.data.validate import validate

    progress("making the snapshot", 0, 2, "validating")
    splits = assign_splits(
        raw.labels,
        raw.splits,
        valid_fraction=params.valid_fraction,
        test_fraction=params.test_fraction,
        seed=params.seed,
    )
    report = validate(raw, splits, params.validation)
    progress("making the snapshot", 1, 2, "writing")
    train, valid, test = (
        (raw.images[chosen], raw.labels[chosen])
        for chosen in (report.keep & (splits == name) for name in ("train", "valid", "test"))
    )
    snapshot = write_snapshot(
        snapshots,
        {"train": train, "valid": valid, "test": test},
        classes=raw.classes,
        preprocessing=Preprocessing.fitted(train[0]),
        source=raw.source,
        seed=params.seed,
        findings=report.findings,
    )
    progress("making the snapshot", 2, 2, snapshot.id)
    return snapshot
