"""The decision history as a hash chain: every row carries the hash of its content and of the row before it.

Whoever edits, removes or reorders a row would have to write every later row anew. That, and a tail that was cut off,
shows against the head: the newest row's number and hash, kept outside of the database.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifarops.errors import UsageError
from cifarops.files import canonical_json, locked, write_atomic

GENESIS = "0" * 64
_HEAD = re.compile(r"(?P<seq>\d+):(?P<hash>[0-9a-f]{64})")


@dataclass(frozen=True)
class Head:
    """The newest row of a history.

    Attributes:
        seq: Its position, from 1; 0 where nothing was decided yet.
        hash: Its hash: 64 hex digits.
    """

    seq: int = 0
    hash: str = GENESIS

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Read what `str` makes of a head.

        Raises:
            UsageError: It is something else.
        """
        found = _HEAD.fullmatch(text.strip())
        if found is None:
            raise UsageError(
                f"{text!r} is no head of a history.",
                fix="Give NUMBER:HASH as an earlier `cifarops registry verify` printed it.",
            )
        return cls(int(found["seq"]), found["hash"])

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


@dataclass(frozen=True)
class Row:
    """A row of the history as it is stored.

    Attributes:
        content: Time, kind, environment, version, actor, reason and evidence (as text).
        previous: Hash of the row before.
        hash: Its own.
    """

    seq: int
    content: tuple[Any, ...]
    previous: str | None
    hash: str | None


@dataclass(frozen=True)
class Break:
    """Where the history is not what was written.

    Attributes:
        seq: The first row that is affected.
        hash: The hash which that row has now, or None where it has none or is gone.
        what: What is wrong, as a sentence.
    """

    seq: int
    hash: str | None
    what: str


def hash_row(previous: str, seq: int, content: tuple[Any, ...]) -> str:
    """Return the hash of a row that follows the one with the hash `previous`."""
    return hashlib.sha256(canonical_json([previous, seq, *content])).hexdigest()


def find_breaks(rows: Iterable[Row], heads: Iterable[Head]) -> Iterator[Break]:
    """Yield every place where the rows, in the order of their numbers, are not the chain that was written.

    A row is held against the hash that the row before it has now, so that one edit is reported once.

    Args:
        rows: The whole history.
        heads: Newest rows of earlier times, kept elsewhere.
    """
    awaited: dict[int, set[Head]] = {}
    for head in heads:
        if head.seq:
            awaited.setdefault(head.seq, set()).add(head)
    last = Head()
    for row in rows:
        if row.seq != last.seq + 1:
            yield Break(row.seq, row.hash, f"{_numbered(last.seq + 1, row.seq - 1)} removed.")
        elif row.previous != last.hash:
            yield Break(row.seq, row.hash, f"Row {row.seq} does not follow the row before it.")
        if row.hash is None or row.hash != hash_row(row.previous or "", row.seq, row.content):
            yield Break(row.seq, row.hash, f"Row {row.seq} was altered, or written by something else.")
        last = Head(row.seq, row.hash or "")
        if awaited.pop(row.seq, {last}) != {last}:
            yield Break(row.seq, row.hash, f"Row {row.seq} is not the one whose hash was kept elsewhere.")
    if cut := max(awaited, default=0):
        yield Break(last.seq + 1, None, f"{_numbered(last.seq + 1, cut)} cut off the end.")


def _numbered(first: int, last: int) -> str:
    return f"Row {first} was" if first == last else f"Rows {first} to {last} were"


def read_head(path: Path) -> Head:
    """Return the head that `keep_head` wrote, or that of an empty history."""
    try:
        return Head.parse(path.read_text())
    except (OSError, UsageError):
        return Head()


def keep_head(path: Path, head: Head) -> None:
    """Write the head beside the database, after the row is committed; never an older one over a newer one.

    Where it can't be written it lags behind, and protects fewer rows: what is decided is decided.
    """
    with suppress(OSError), locked(path.with_suffix(".head-lock")):
        if read_head(path).seq < head.seq:
            write_atomic(path, f"{head}\n".encode())
