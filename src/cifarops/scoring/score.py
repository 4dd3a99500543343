"""Scoring many images without a server: read one after the other, decoded and answered on all processors, in order."""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np

from cifarops.bundle.runtime import OnnxModel
from cifarops.bundle.store import Bundle
from cifarops.data.preprocess import MIN_SIDE, decode
from cifarops.errors import DataError, UsageError
from cifarops.machine import usable_cores
from cifarops.progress import Progress, silent
from cifarops.scoring.images import Image, read_images, stamp
from cifarops.scoring.parquet import from_json_lines, need_pyarrow
from cifarops.scoring.part import open_part, publish
from cifarops.scoring.rows import TEXTS, Rows

SUFFIXES = (".csv", ".jsonl", ".parquet")
# Images that one thread deals with before it hands over rows; and how many of them the model sees at once, which is
# where more bring nothing on a processor. Large files make smaller chunks: they are held in memory until it is their turn.
_CHUNK = 64
_CHUNK_BYTES = 8 * 2**20
_TOGETHER = 16


@dataclass(frozen=True)
class Scored:
    """What came of it.

    Attributes:
        file: The file with the rows.
        images: How many rows it has.
        unreadable: How many of them say why an image could not be scored.
        resumed: How many rows were there from before.
        bundle: Digest of the bundle that answered.
        precision: Which of its models.
    """

    file: str
    images: int
    unreadable: int
    resumed: int
    bundle: str
    precision: Literal["float32", "int8"]


def score(origin: Path, target: Path, bundle: Bundle, *, progress: Progress = silent) -> Scored:
    """Write one row for each image of `origin` to `target`; interrupted, the same call goes on where it stood.

    Args:
        origin: A directory, tar, tar.gz, zip or Parquet file.
        target: CSV, JSON lines or Parquet, by its suffix.
        bundle: What answers.
        progress: Told how much was read.

    Raises:
        UsageError: The suffix is none of these, `target` is there, or half of it was written from something else.
        DataError: `origin` is nothing that holds images, or is damaged.
        ConflictError: Another process is writing `target`.
    """
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{target} ends in none of {', '.join(SUFFIXES)}.", fix=f"For example: {target}.csv")
    if suffix == ".parquet":
        need_pyarrow()
    model = OnnxModel(bundle)
    rows = Rows(bundle.manifest.classes, "csv" if suffix == ".csv" else "jsonl")
    with open_part(target, _job(origin, bundle, model, suffix)) as part:
        resumed = part.rows
        if not resumed:
            part.add(rows.head(), rows=0, failed=0)

        def told(what: str, done: int, total: int, note: str = "") -> None:
            unreadable = f", {part.failed:,} unreadable" if part.failed else ""
            progress(what, done, total, f"{note} {part.rows:,} scored{unreadable}")

        images = islice(read_images(origin, told), resumed, None)
        for content, count, failed in _in_order(_chunks(images), model, rows):
            part.add(content, rows=count, failed=failed)
        if not part.rows:
            raise DataError(f"{origin} has no images.", fix="Name one with PNG, JPEG or WebP files.")
        part.commit()
        complete = part.path
        if suffix == ".parquet":
            complete = part.path.with_name(part.path.name + ".parquet")
            from_json_lines(part.path, complete, rows.columns, TEXTS)
        publish(part, target, complete)
        return Scored(str(target), part.rows, part.failed, resumed, bundle.digest, model.precision)


def _job(origin: Path, bundle: Bundle, model: OnnxModel, suffix: str) -> str:
    """Return what the rows depend on."""
    parts = (
        str(origin.absolute()),
        stamp(origin) if origin.exists() else "",
        bundle.digest,
        model.precision,
        suffix,
    )
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()


def _chunks(images: Iterator[Image]) -> Iterator[list[Image]]:
    chunk: list[Image] = []
    size = 0
    for image in images:
        chunk.append(image)
        size += len(image.content or b"")
        if len(chunk) == _CHUNK or size > _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _in_order(
    chunks: Iterable[list[Image]], model: OnnxModel, rows: Rows
) -> Iterator[tuple[bytes, int, int]]:
    """Yield rows, their number and how many of them failed; a few chunks are under way at a time."""
    cores = usable_cores()
    with ThreadPoolExecutor(cores, thread_name_prefix="score") as threads:
        under_way: deque[Future[tuple[bytes, int, int]]] = deque()
        try:
            for chunk in chunks:
                under_way.append(threads.submit(_score_chunk, chunk, model, rows))
                if len(under_way) > 2 * cores:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for waiting in under_way:
                waiting.cancel()


def _score_chunk(chunk: list[Image], model: OnnxModel, rows: Rows) -> tuple[bytes, int, int]:
    size = model.manifest.preprocessing.size
    pixels = np.empty((len(chunk), size, size, 3), np.uint8)
    errors: list[str | None] = []
    readable = 0
    for image in chunk:
        try:
            if image.content is None:
                raise DataError(image.problem, fix="")
            pixels[readable] = decode(image.content, size, min_side=MIN_SIDE).pixels
        except DataError as error:
            errors.append(error.message)
        else:
            errors.append(None)
            readable += 1
    starts = range(0, readable, _TOGETHER)
    answers = [model.probabilities(pixels[start : min(start + _TOGETHER, readable)]) for start in starts]
    probabilities = (
        np.concatenate(answers) if answers else np.empty((0, len(model.manifest.classes)), np.float32)
    )
    return rows.write(chunk, errors, probabilities), len(chunk), len(chunk) - readable
