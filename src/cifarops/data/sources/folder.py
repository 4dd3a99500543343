"""The `folder` source: class folders of PNG, JPEG or WebP images, as a directory, tar, tar.gz or zip.

Images lie in `CLASS/…`, or in `train/CLASS/…`, `valid/CLASS/…` (or `val`) and `test/CLASS/…`; one folder around all of
it is ignored. Hidden files and files of other kinds are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarops.data.snapshot import SourceInfo
from cifarops.data.sources.decoding import Batch, decode_batches
from cifarops.data.sources.members import Members, open_members
from cifarops.data.sources.raw import Problem, RawImages
from cifarops.errors import DataError
from cifarops.progress import Progress, silent

_SPLITS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
_BATCH_FILES = 256
_BATCH_BYTES = 4_000_000


@dataclass(frozen=True)
class Place:
    """Which split (or empty) and class a path says an image belongs to."""

    split: str
    label: str


def read_folder(origin: Path, size: int, progress: Progress = silent) -> RawImages:
    """Read class folders.

    Args:
        origin: A directory, or a tar, tar.gz or zip archive of one.
        size: Height and width in pixels that every image is brought to.
        progress: Told how far it is.

    Raises:
        DataError: No image is found, there are fewer than two classes, or the archive is damaged.
    """
    members = open_members(origin, progress)
    reading = _Reading(members)
    batches = list(decode_batches(reading.batches(), size))
    places = layout(reading.names)
    remarks = [remark for batch in batches for remark in batch.remarks]
    problems = reading.problems
    kept: list[tuple[int, Place]] = []
    for position in sorted(range(len(places)), key=reading.names.__getitem__):
        name, place, remark = reading.names[position], places[position], remarks[position]
        if place is None:
            problems.append(Problem("ignored", name, "outside any class folder"))
        elif remark and remark[0] == "unreadable":
            problems.append(Problem(*remark[:1], name, remark[1]))
        else:
            if remark:
                problems.append(Problem(remark[0], name, remark[1], index=len(kept)))
            kept.append((position, place))
    classes = tuple(sorted({place.label for place in places if place is not None}))
    _require_classes(origin, classes, len(kept), problems)
    number = {name: label for label, name in enumerate(classes)}
    return RawImages(
        images=_gather(batches, [position for position, _ in kept], size),
        labels=np.array([number[place.label] for _, place in kept], dtype=np.int64),
        names=[reading.names[position] for position, _ in kept],
        splits=np.array([place.split for _, place in kept], dtype=np.str_),
        classes=classes,
        source=SourceInfo(kind="folder", name=origin.resolve().name, sha256=members.sha256),
        problems=tuple(problems),
    )


def layout(names: Sequence[str]) -> list[Place | None]:
    """Read split and class off paths; None for an image outside any class folder.

    Raises:
        DataError: Folders named like splits stand beside others, so that either reading would be a guess.
    """
    paths = [tuple(part for part in name.split("/") if part not in ("", ".", "..")) for name in names]
    tops = {path[0] for path in paths if path}
    deep = any(len(path) > 2 for path in paths)
    if len(tops) == 1 and deep and not _is_split(next(iter(tops))):
        paths = [path[1:] for path in paths]
        deep = any(len(path) > 2 for path in paths)
    folders = {path[0] for path in paths if len(path) > 1}
    as_splits = {name for name in folders if _is_split(name)}
    if not deep or not as_splits:
        return [Place("", path[0]) if len(path) > 1 else None for path in paths]
    if folders - as_splits:
        raise DataError(
            f"Folders named like splits ({', '.join(sorted(as_splits))}) stand beside others"
            f" ({', '.join(sorted(folders - as_splits)[:5])}).",
            fix="Keep either train/, valid/ and test/ with class folders in them, or class folders only.",
        )
    return [Place(_SPLITS[path[0].casefold()], path[1]) if len(path) > 2 else None for path in paths]


class _Reading:
    """Cuts members into batches for decoding, remembering names and problems on the way."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self.names: list[str] = []
        self.problems: list[Problem] = []

    def batches(self) -> Iterator[list[bytes]]:
        batch: list[bytes] = []
        size = 0
        for member in self._members:
            if member.content is None:
                self.problems.append(Problem(member.problem[0], member.name, member.problem[1]))
                continue
            self.names.append(member.name)
            batch.append(member.content)
            size += len(member.content)
            if len(batch) == _BATCH_FILES or size > _BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch


def _is_split(name: str) -> bool:
    return name.casefold() in _SPLITS


def _gather(batches: list[Batch], positions: list[int], size: int) -> NDArray[np.uint8]:
    """Copy the wanted images out of the batches, giving each batch's memory back at once."""
    target = np.full(sum(len(batch.pixels) for batch in batches), -1, dtype=np.int64)
    target[positions] = np.arange(len(positions))
    images = np.empty((len(positions), size, size, 3), dtype=np.uint8)
    start = 0
    for index, batch in enumerate(batches):
        rows = target[start : start + len(batch.pixels)]
        images[rows[rows >= 0]] = batch.pixels[rows >= 0]
        start += len(batch.pixels)
        batches[index] = Batch(batch.pixels[:0], ())
    return images


def _require_classes(origin: Path, classes: tuple[str, ...], images: int, problems: list[Problem]) -> None:
    if images and len(classes) >= 2:
        return
    seen = "; ".join(f"{problem.name}: {problem.detail}" for problem in problems[:3])
    found = f"only one class, {classes[0]!r}" if images else "no readable image in a class folder"
    raise DataError(
        f"{origin} has {found}{f' ({seen})' if seen else ''}.",
        fix="Lay the images out as CLASS/NAME.png with two or more classes, or as train/CLASS/… and test/CLASS/….",
    )
