"""Crash-safe files: what a reader finds is always whole, old or new, whatever was killed meanwhile."""

import fcntl
import hashlib
import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from cifarops.errors import IntegrityError, UnavailableError

_TEMPORARY = ".tmp-"


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return `value` as JSON bytes that are the same for the same value: sorted keys, no blanks, UTF-8."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def write_atomic(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Replace `path` by `content` in one step: temporary name, fsync, rename, fsync of the directory.

    Args:
        path: The file.
        content: What it will hold.
        mode: Who may do what with it, as far as the umask lets them; never more, at no moment.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / _temporary_name(path.name)
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
        publish_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def publish_file(complete: Path, target: Path) -> None:
    """Let the complete file `complete`, in the same directory, take the name `target` in one step, and last."""
    with complete.open("rb") as file:
        os.fsync(file.fileno())
    complete.replace(target)
    _fsync_directory(target.parent)


@contextmanager
def staged_directory(parent: Path) -> Iterator[Path]:
    """Yield an empty directory under `parent` to fill and hand to `publish_directory`.

    Whatever is left of it at the end is removed; leftovers of processes that died are swept first.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent)
    staged = parent / _temporary_name("dir")
    staged.mkdir()
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def publish_directory(staged: Path, target: Path) -> None:
    """Make the complete directory `staged` appear as `target` in one step.

    `target` is content-addressed: if another process published it first, its copy is kept.
    """
    for path in staged.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _fsync_directory(staged)
    try:
        staged.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        return
    _fsync_directory(target.parent)


@contextmanager
def locked(path: Path, *, otherwise: Exception | None = None) -> Iterator[None]:
    """Hold the lock file `path`; the system gives it back whenever a process ends.

    Args:
        path: The file, in a directory that exists.
        otherwise: Raised at once where somebody has it; by default whoever has it is waited for.
    """
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if otherwise else 0))
        except BlockingIOError:
            if otherwise is None:
                raise
            raise otherwise from None
        yield


def check_database(path: Path, *, fix: str) -> None:
    """Refuse a file that is there and is no intact SQLite database.

    Args:
        path: The file; one that is missing or empty passes, because a database can be made there.
        fix: What the user is told to do.

    Raises:
        IntegrityError: It is something else, or damaged.
        UnavailableError: It can't be read now, which says nothing against the file: the disk is full, rights are missing.
    """
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path, timeout=10)) as connection:
            (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        if not says_damaged(error):
            raise UnavailableError(
                f"The database {path} can't be read now: {error}.",
                fix="Check that the disk is not full and the file may be read and written, then run it again.",
            ) from error
        raise IntegrityError(f"The database {path} can't be read: {error}.", fix=fix) from error
    if finding != "ok":
        raise IntegrityError(f"The database {path} is damaged: {finding}", fix=fix)


def says_damaged(error: Exception) -> bool:
    """Return whether SQLite says that a file is no intact database, not that it can't be read or written just now."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)  # the rest of it tells more


def _temporary_name(stem: str) -> str:
    return f"{_TEMPORARY}{os.getpid()}-{uuid.uuid4().hex[:8]}-{stem}"


def _fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(parent: Path) -> None:
    for leftover in parent.glob(f"{_TEMPORARY}*"):
        pid = leftover.name.removeprefix(_TEMPORARY).split("-", 1)[0]
        if pid.isdigit() and not _is_alive(int(pid)):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
