"""The files inside a directory, tar or zip, one after the other. Nothing is ever extracted to disk."""

import hashlib
import os
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cifarops.data.sources.streams import DAMAGED, GZIP_MAGIC, HashingReader, damaged, tar_stream
from cifarops.errors import DataError
from cifarops.files import sha256_file
from cifarops.progress import Progress

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MAX_FILE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Member:
    """One file.

    Attributes:
        name: Its path inside, with `/`.
        content: Its bytes, or None where it was not read.
        problem: Where it was not read, a check of `Problem` and its detail.
    """

    name: str
    content: bytes | None
    problem: tuple[str, str] = ("", "")


class Members(Protocol):
    """The files of one origin; iterate once, then ask for `sha256`."""

    def __iter__(self) -> Iterator[Member]:
        """Yield the files that are not hidden."""

    @property
    def sha256(self) -> str:
        """Identity of everything read: of the archive's bytes, or of the names and contents in a directory."""


def open_members(origin: Path, progress: Progress) -> Members:
    """Choose a reader by what `origin` is, not by its name.

    Raises:
        DataError: It is neither a directory nor a tar, tar.gz or zip archive.
    """
    if origin.is_dir():
        return DirectoryMembers(origin, progress)
    if zipfile.is_zipfile(origin):
        return ZipMembers(origin, progress)
    with origin.open("rb") as file:
        start = file.read(512)
    if start[:2] == GZIP_MAGIC or start[257:262] == b"ustar":
        return TarMembers(origin, progress)
    raise DataError(
        f"{origin} is neither a directory nor a whole tar, tar.gz or zip archive.",
        fix="Give a directory of class folders, or such an archive of one; if it was downloaded, fetch it again.",
    )


class DirectoryMembers:
    """The files under a directory. Links are followed, but no directory is entered twice."""

    def __init__(self, root: Path, progress: Progress) -> None:
        self._root = root
        self._progress = progress
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[Member]:
        paths = [path for path in list_files(self._root) if not is_hidden(path)]
        for done, name in enumerate(paths, start=1):
            member = self._read(name)
            if member.content is not None:
                self._digest.update(f"{name}\0".encode(errors="surrogateescape"))
                self._digest.update(hashlib.sha256(member.content).digest())
            yield member
            if done % 100 == 0 or done == len(paths):
                self._progress("reading files", done, len(paths))

    @property
    def sha256(self) -> str:
        """SHA-256 over the names and contents read."""
        return self._digest.hexdigest()

    def _read(self, name: str) -> Member:
        path = self._root / name
        try:
            if not path.is_file():
                return Member(name, None, ("ignored", "a broken link or a device"))
            skipped = _reason_to_skip(name, path.stat().st_size)
            return Member(name, None, skipped) if skipped else Member(name, path.read_bytes())
        except (PermissionError, FileNotFoundError) as error:
            return Member(name, None, ("unreadable", f"{error.strerror}"))


class TarMembers:
    """The files of a tar or tar.gz, in one pass over its bytes."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        self._progress = progress
        self._digest = ""

    def __iter__(self) -> Iterator[Member]:
        with self._path.open("rb") as file:
            raw = HashingReader(file, self._path, self._progress)
            with tar_stream(raw, self._path) as archive:
                for info in archive:
                    if not (info.isdir() or is_hidden(info.name)):
                        yield _tar_member(archive, info)
            self._digest = raw.sha256

    @property
    def sha256(self) -> str:
        """SHA-256 of the archive's bytes."""
        return self._digest


class ZipMembers:
    """The files of a zip."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        self._progress = progress

    def __iter__(self) -> Iterator[Member]:
        try:
            with zipfile.ZipFile(self._path) as archive:
                infos = [
                    info for info in archive.infolist() if not (info.is_dir() or is_hidden(info.filename))
                ]
                for done, info in enumerate(infos, start=1):
                    skipped = _reason_to_skip(info.filename, info.file_size)
                    content = None if skipped else archive.read(info)
                    yield Member(info.filename, content, skipped or ("", ""))
                    if done % 100 == 0 or done == len(infos):
                        self._progress("reading files", done, len(infos))
        except DAMAGED as error:
            raise damaged(self._path, error) from error
        except (RuntimeError, NotImplementedError) as error:  # encrypted, or a compression nobody has
            raise DataError(
                f"{self._path} can't be read: {error}.", fix="Pack it again without a password, with deflate."
            ) from error

    @property
    def sha256(self) -> str:
        """SHA-256 of the archive's bytes."""
        return sha256_file(self._path)


def list_files(root: Path) -> list[str]:
    """List the files under `root` as sorted relative paths; a directory reached twice by links is listed once."""
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        inside = folder.removeprefix(str(root)).replace(os.sep, "/").strip("/")
        found += [f"{inside}/{name}" if inside else name for name in names]
    return sorted(found)


def stamp_directory(root: Path) -> str:
    """Hash the names, sizes and modification times under a directory: cheap, and changed by any ordinary edit."""
    digest = hashlib.sha256()
    for name in list_files(root):
        path = root / name
        status = path.stat() if path.exists() else path.lstat()
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def is_hidden(name: str) -> bool:
    """Whether a path is hidden, or an archiver's own."""
    return any(part == "__MACOSX" or (part.startswith(".") and part.strip(".")) for part in name.split("/"))


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    if not info.isreg():
        return Member(info.name, None, ("ignored", "a link or device in an archive"))
    skipped = _reason_to_skip(info.name, info.size)
    if skipped:
        return Member(info.name, None, skipped)
    file = archive.extractfile(info)
    if file is None:
        return Member(info.name, None, ("ignored", "not a regular file"))
    return Member(info.name, file.read())


def _reason_to_skip(name: str, size: int) -> tuple[str, str] | None:
    if not name.lower().endswith(SUFFIXES):
        return "ignored", "not named as a PNG, JPEG or WebP image"
    if size > MAX_FILE_BYTES:
        return "unreadable", f"{size:,} bytes; the limit is {MAX_FILE_BYTES:,}"
    return None
