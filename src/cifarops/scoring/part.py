"""Rows on their way to a file, so that work that was cut short goes on where it stood: no row twice, none lost.

FILE.part          the rows so far, and perhaps some that don't count yet
FILE.part.json     how many bytes and rows of it count, and what they are rows of; written after those are on the disk
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from cifarops.errors import ConflictError, UsageError
from cifarops.files import locked, publish_file, write_atomic

_COMMIT_SECONDS = 1.0


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    job: str
    size: int = 0
    rows: int = 0
    failed: int = 0


class Part:
    """The rows so far.

    Args:
        file: `FILE.part`, open for writing.
        path: Where it lies.
        state: What of it counts.
    """

    def __init__(self, file: IO[bytes], path: Path, state: _State) -> None:
        self.path = path
        self.rows = state.rows
        self.failed = state.failed
        self._job = state.job
        self._file = file
        self._committed = time.monotonic()
        file.truncate(state.size)
        file.seek(state.size)

    def add(self, content: bytes, *, rows: int, failed: int) -> None:
        """Write some rows; what is written counts within a second."""
        self._file.write(content)
        self.rows += rows
        self.failed += failed
        if time.monotonic() - self._committed > _COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Let everything count that was written."""
        self._file.flush()
        os.fsync(self._file.fileno())
        state = _State(job=self._job, size=self._file.tell(), rows=self.rows, failed=self.failed)
        write_atomic(_state_path(self.path), state.model_dump_json().encode())
        self._committed = time.monotonic()

    def keep(self) -> None:
        """Let everything count that was written, if it is anything."""
        if self.rows:
            self.commit()
        else:
            self.discard()

    def discard(self) -> None:
        """Remove whatever there is of it."""
        self.path.unlink(missing_ok=True)
        _state_path(self.path).unlink(missing_ok=True)


@contextmanager
def open_part(target: Path, job: str) -> Iterator[Part]:
    """Go on with the rows of `target`, or begin. What was written counts when the block ends in an exception, too.

    Args:
        target: The file to be.
        job: What the rows depend on; rows of another job are not gone on with.

    Raises:
        UsageError: The file is there already, its folder is not, or its rows are of another job.
        ConflictError: Another process is writing it.
    """
    path = target.with_name(target.name + ".part")
    if target.exists():
        raise UsageError(f"{target} is already there.", fix="Name another file, or remove it first.")
    if not target.parent.is_dir():
        raise UsageError(
            f"There is no directory {target.parent}.", fix="Make it first, or name another file."
        )
    busy = ConflictError(f"Another process is writing {target}.", fix="Wait for it, or name another file.")
    with locked(path, otherwise=busy), path.open("r+b") as file:
        part = Part(file, path, _state(path, job))
        try:
            yield part
        except BaseException:
            part.keep()
            raise


def publish(part: Part, target: Path, content: Path) -> None:
    """Let the complete file `content`, which may be the rows themselves, appear as `target`; the part is gone then."""
    publish_file(content, target)
    part.discard()


def _state_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _state(path: Path, job: str) -> _State:
    try:
        state = _State.model_validate_json(_state_path(path).read_bytes())
    except (OSError, ValidationError):
        return _State(job=job)
    if state.size > path.stat().st_size:
        return _State(job=job)
    if state.job != job:
        raise UsageError(
            f"{path} holds {state.rows:,} rows of other images, another model or another format.",
            fix=f"To begin anew: rm {path} {_state_path(path)}. To go on: name what it was begun with.",
        )
    return state
