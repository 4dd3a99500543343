"""The images to score, one after the other: of a directory, a tar, tar.gz or zip, or a Parquet file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifarops.data.sources.members import open_members, stamp_directory
from cifarops.errors import DataError
from cifarops.progress import Progress
from cifarops.scoring.parquet import open_parquet

_PARQUET_MAGIC = b"PAR1"
_ROWS = 256


@dataclass(frozen=True)
class Image:
    """One image file.

    Attributes:
        name: Where it is inside what is scored.
        content: Its bytes, or None where it could not be read.
        problem: Why it was not read.
    """

    name: str
    content: bytes | None
    problem: str = ""


def read_images(origin: Path, progress: Progress) -> Iterator[Image]:
    """Yield the images in an order that is the same each time; whatever is not named as an image is left out.

    Raises:
        DataError: `origin` is nothing that holds images, or is damaged.
    """
    if not origin.exists():
        raise DataError(
            f"There is no {origin}.", fix="Name a directory, an archive or a Parquet file of images."
        )
    if origin.is_file() and _begins_with(origin, _PARQUET_MAGIC):
        yield from _of_parquet(origin, progress)
        return
    for member in open_members(origin, progress):
        check, detail = member.problem
        if check != "ignored":
            yield Image(member.name, member.content, detail)


def stamp(origin: Path) -> str:
    """Return what changes when the images do: names, sizes and times of modification."""
    if origin.is_dir():
        return stamp_directory(origin)
    status = origin.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def _of_parquet(origin: Path, progress: Progress) -> Iterator[Image]:
    file = open_parquet(origin)
    column = _image_column(file.schema_arrow, origin)
    total, done = file.metadata.num_rows, 0
    for batch in file.iter_batches(batch_size=_ROWS, columns=[column]):
        for number, value in enumerate(batch.column(0).to_pylist(), start=done):
            content, path = (
                (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
            )
            yield Image(path or f"row {number}", content, "" if content else "the row holds no bytes")
        done += batch.num_rows
        progress("reading rows", done, total)


def _image_column(schema: Any, origin: Path) -> str:
    """Return the one column of files: bytes, or structs with `bytes` as the data sets of Hugging Face have them."""
    from pyarrow import types

    def holds_files(kind: Any) -> bool:
        if types.is_struct(kind):
            return any(kind.field(place).name == "bytes" for place in range(kind.num_fields))
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    found = [str(field.name) for field in schema if holds_files(field.type)]
    if len(found) != 1:
        raise DataError(
            f"{origin} has {len(found) or 'no'} columns of image files{': ' + ', '.join(found) if found else ''}.",
            fix="Give a Parquet file with one column of bytes, or of structs with a field `bytes`.",
        )
    return found[0]


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
