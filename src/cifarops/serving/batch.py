"""Asking a server about many files: each gets its answer or its error, and none stops the others."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cifarops.errors import DataError, UsageError
from cifarops.serving.client import Answer, Client
from cifarops.serving.sizes import MAX_IMAGE_BYTES

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_WORKERS = 4


@dataclass(frozen=True)
class FileAnswer:
    """What came of one file: an answer, or why there is none."""

    file: str
    answer: Answer | None = None
    error: str | None = None

    def row(self) -> tuple[str, ...]:
        """Return the cells of a table: file, label or error, confidence, version, prediction id."""
        if self.answer is None:
            return (self.file, f"error: {self.error}", "", "", "")
        answer = self.answer
        return (
            self.file,
            answer.label,
            f"{answer.confidence:.1%}",
            str(answer.model_version),
            answer.prediction_id,
        )


def predict_files(client: Client, paths: Iterable[Path]) -> list[FileAnswer]:
    """Classify files, and the images in folders, in the order given.

    Raises:
        UsageError: A folder has no images.
        UnavailableError: The server does not answer.
    """
    with ThreadPoolExecutor(_WORKERS) as pool:
        return list(pool.map(lambda path: _ask(client, path), list(_expanded(paths))))


def _ask(client: Client, path: Path) -> FileAnswer:
    try:
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise DataError(f"The file is larger than {MAX_IMAGE_BYTES:,} bytes.", fix="Scale it down first.")
        return FileAnswer(str(path), client.predict(path.read_bytes()))
    except DataError as error:
        return FileAnswer(str(path), error=error.message)
    except OSError as error:
        return FileAnswer(str(path), error=f"It can't be read: {error.strerror or error}.")


def _expanded(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        images = sorted(found for found in path.rglob("*") if found.suffix.lower() in _SUFFIXES)
        if not images:
            raise UsageError(
                f"{path} has no image files.",
                fix=f"Name a folder with files ending in {', '.join(_SUFFIXES)}.",
            )
        yield from images
