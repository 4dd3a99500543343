"""Reading archives in one pass: hashed and found whole to the last byte."""

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol, cast

from cifarops.errors import DataError
from cifarops.progress import Progress

DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)
GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 31  # what zlib calls a gzip header with the largest window
_PIECE = 2**16
_MEGABYTE = 1_000_000


def damaged(path: Path, error: BaseException) -> DataError:
    """Say that an archive is truncated or damaged."""
    return DataError(
        f"The archive {path} is truncated or damaged: {error}.",
        fix="Fetch or copy it again and compare its size or checksum with the original.",
    )


class HashingReader:
    """A binary file that hashes what is read from it and reports progress in megabytes."""

    def __init__(self, file: IO[bytes], path: Path, progress: Progress) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._what = f"reading {path.name}"
        self._progress = progress
        self._total = path.stat().st_size
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        content = self._file.read(size)
        self._sha256.update(content)
        self._md5.update(content)
        before, self._done = self._done, self._done + len(content)
        if before // _MEGABYTE != self._done // _MEGABYTE:
            self._progress(self._what, self._done // _MEGABYTE, self._total // _MEGABYTE, "MB")
        return content

    def drain(self) -> None:
        """Read to the end, so that the hashes are those of the whole file."""
        while self.read(2**20):
            pass

    @property
    def sha256(self) -> str:
        """SHA-256 of what was read, as 64 hex digits."""
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str:
        """MD5 of what was read, as 32 hex digits."""
        return self._md5.hexdigest()


@contextmanager
def tar_stream(raw: HashingReader, path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar or tar.gz for one pass; at the end, everything has been read and found whole.

    Raises:
        DataError: It is truncated or damaged.
    """
    with path.open("rb") as file:
        is_gzip = file.read(2) == GZIP_MAGIC
    inner = _TailReader(_Gunzip(raw) if is_gzip else raw)
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", inner), mode="r|", bufsize=2**18) as archive:
            yield archive
        inner.drain()
        raw.drain()
    except DAMAGED as error:
        raise damaged(path, error) from error
    if inner.tail.strip(b"\0"):
        raise damaged(path, EOFError("its end is missing"))


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Gunzip:
    """Unpacks gzip in large pieces, which `gzip` does in small ones, at twice the cost; checks its checksums."""

    def __init__(self, inner: _Readable) -> None:
        self._inner = inner
        self._engine = zlib.decompressobj(_GZIP)
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """Return the next piece, whatever its size; empty at the end."""
        content = b""
        while not content:
            packed = self._rest or self._inner.read(_PIECE)
            self._rest = b""
            if not packed:
                if self._engine.eof:
                    break
                raise EOFError("its end is missing")
            if self._engine.eof:  # zeros fill a block up, anything else is a further member
                packed = packed.lstrip(b"\0")
                self._engine = zlib.decompressobj(_GZIP) if packed else self._engine
            if packed:
                content = self._engine.decompress(packed)
                self._rest = self._engine.unused_data
        return content


class _TailReader:
    """Remembers the last KiB, which in a whole tar is empty: tarfile itself takes a missing end for the end."""

    def __init__(self, inner: _Readable) -> None:
        self._inner = inner
        self.tail = b""

    def read(self, size: int = -1) -> bytes:
        content = self._inner.read(size)
        self.tail = (self.tail + content)[-1024:] if len(content) < 1024 else content[-1024:]
        return content

    def drain(self) -> None:
        while self.read(2**20):
            pass
