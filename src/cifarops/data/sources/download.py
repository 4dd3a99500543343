"""Fetching one large file: resumed where it broke off, checked at the end, one process at a time."""

import hashlib
import os
from pathlib import Path

import urllib3
from urllib3.exceptions import HTTPError

from cifarops.data.sources.network import explain, open_pool
from cifarops.errors import IntegrityError, UnavailableError
from cifarops.files import locked
from cifarops.progress import Progress, silent

_ATTEMPTS = 3
_CHUNK = 2**18
_MEGABYTE = 1_000_000


def download(url: str, target: Path, *, md5: str, remedy: str, progress: Progress = silent) -> Path:
    """Fetch `url` to `target`, unless that is there already.

    What was fetched before a break lies in `NAME.part` and is continued, if the server can. Of two processes at once,
    one waits for the other.

    Args:
        url: An http or https address.
        target: Where the whole file appears.
        md5: The MD5 that it must have.
        remedy: What to do if it can't be fetched, for the message.
        progress: Told how far it is, in megabytes.

    Returns:
        `target`.

    Raises:
        UnavailableError: The server can't be reached, refuses, or keeps breaking off.
        IntegrityError: The file has another checksum; it is deleted.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with locked(target.with_name(f"{target.name}.lock")):
        if not target.exists():
            if not (part.exists() and _md5(part) == md5):  # else only its name was missing
                _fetch(url, part, remedy, progress)
                _check(part, url, md5, remedy)
            part.replace(target)
    return target


def _fetch(url: str, part: Path, remedy: str, progress: Progress) -> None:
    """Fetch until the file is complete; each attempt that brings something gives new attempts."""
    problem = ""
    attempts = _ATTEMPTS
    while attempts:
        before = _size(part)
        try:
            with open_pool(url) as pool:
                if _fetch_rest(pool, url, part, progress):
                    return
            problem = "the connection broke off"
        except HTTPError as error:
            problem = explain(error, url)
        except (_RefusedByServer, ValueError) as error:  # ValueError: a redirect that is no address
            problem = str(error)
            break
        attempts = _ATTEMPTS if _size(part) > before else attempts - 1
    raise UnavailableError(f"{url} can't be fetched: {problem}.", fix=remedy)


def _check(part: Path, url: str, md5: str, remedy: str) -> None:
    found = _md5(part)
    if found != md5:
        part.unlink()
        raise IntegrityError(
            f"What {url} sent has the MD5 {found}, not the official {md5}; it was deleted.",
            fix=f"Run it again; if it happens again, the server's copy is wrong: {remedy}",
        )


class _RefusedByServer(Exception):  # noqa: N818 - never leaves this module
    """An answer that asking again won't change."""


def _fetch_rest(pool: urllib3.PoolManager, url: str, part: Path, progress: Progress) -> bool:
    """Ask for what is missing and append it; return whether the file is complete."""
    have = _size(part)
    headers = {"Range": f"bytes={have}-"} if have else {}
    with pool.request("GET", url, headers=headers, preload_content=False) as answer:
        if answer.status == 416:  # the file there is no longer than this part, which is not it: start over
            part.unlink()
            return False
        if answer.status not in (200, 206):
            raise _RefusedByServer(f"the server answered {answer.status} {answer.reason or ''}".rstrip())
        if answer.status == 200:
            have = 0
        total = have + int(answer.headers.get("Content-Length", 0))
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            for chunk in answer.stream(_CHUNK, decode_content=False):
                file.write(chunk)
                have += len(chunk)
                progress(f"fetching {part.stem}", have // _MEGABYTE, max(have, total) // _MEGABYTE, "MB")
            file.flush()
            os.fsync(file.fileno())
    return have >= total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
