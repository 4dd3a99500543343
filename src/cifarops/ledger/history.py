"""The decision history: append-only, and a hash chain, so that whatever is changed afterwards is found."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cifarops.errors import IntegrityError
from cifarops.ledger.chain import GENESIS, Break, Head, Row, find_breaks, hash_row, keep_head, read_head
from cifarops.ledger.database import Database
from cifarops.ledger.records import Decision, DecisionKind, EnvironmentName

_SELECT = "SELECT kind, environment, version, actor, reason, evidence, at, seq FROM decisions"
_SELECT_ROWS = "SELECT seq, at, kind, environment, version, actor, reason, evidence, previous, hash FROM decisions ORDER BY seq"
_APPEND = (
    "INSERT INTO decisions (seq, at, kind, environment, version, actor, reason, evidence, previous, hash)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


REMEDY = (
    "Restore the ledger from a copy, or find out who changed it and go on with the break on record:"
    ' cifarops registry accept-breaks --reason "…". All of them: cifarops registry verify.'
)


class History(Database):
    """What was decided, by whom and why."""

    def __init__(self, path: Path) -> None:
        self._newest: Head | None = None
        super().__init__(path)

    @property
    def head_path(self) -> Path:
        """Where the newest row's number and hash are kept, outside of the database."""
        return self.path.with_suffix(".head")

    def record(self, decision: Decision) -> Decision:
        """Append to the decision history; returns it with its time and position."""
        with self._transaction() as connection:
            return self._append(connection, decision)

    def record_turn(self, decision: Decision, *, opposite: DecisionKind, may_begin: bool) -> None:
        """Append a decision of two kinds that take turns, an alarm and its end; one that only repeats is left out.

        Args:
            decision: The turn, about a version in an environment.
            opposite: The other kind.
            may_begin: Whether this kind comes first; the other one needs something to end.
        """
        with self._transaction() as connection:
            last = connection.execute(
                "SELECT kind FROM decisions WHERE kind IN (?, ?) AND environment = ? AND version = ?"
                " ORDER BY seq DESC LIMIT 1",
                (decision.kind, opposite, decision.environment, decision.version),
            ).fetchone()
            if may_begin if last is None else last[0] == opposite:
                self._append(connection, decision)

    def decisions(
        self, *, environment: EnvironmentName | None = None, last: int = 100, until: float = float("inf")
    ) -> list[Decision]:
        """Return the newest decisions, oldest first.

        Args:
            environment: Only those about this environment.
            last: How many at most.
            until: Only those that were made by then, in seconds since the epoch.
        """
        rows = self._rows(
            f"{_SELECT} WHERE (? IS NULL OR environment = ?) AND at <= ? ORDER BY seq DESC LIMIT ?",
            (environment, environment, until, last),
        )[::-1]
        return [_decision(row) for row in rows]

    def decisions_about(self, version: int, digest: str | None) -> list[Decision]:
        """Return every decision about a version, oldest first; those on its bundle before it was one, too."""
        rows = self._rows(
            f"{_SELECT} WHERE version = ? OR (version IS NULL AND instr(evidence, ?) > 0) ORDER BY seq",
            (version, f'"{digest}"' if digest else None),
        )
        return [_decision(row) for row in rows]

    def every_decision(self) -> list[Decision]:
        """Return the whole history, oldest first."""
        return [_decision(row) for row in self._rows(f"{_SELECT} ORDER BY seq")]

    def count_decisions(
        self, kind: str, *, environment: EnvironmentName | None = None, version: int | None = None
    ) -> int:
        """Return how many decisions of a kind were ever recorded (the test set's looks, for example).

        Args:
            kind: Which kind.
            environment: Only those about this environment.
            version: Only those about this version.
        """
        rows = self._rows(
            "SELECT COUNT(*) FROM decisions WHERE kind = ? AND (? IS NULL OR environment = ?)"
            " AND (? IS NULL OR version = ?)",
            (kind, environment, environment, version, version),
        )
        return int(rows[0][0])

    def head(self) -> Head:
        """Return the newest row's number and hash."""
        rows = self._rows("SELECT seq, COALESCE(hash, '') FROM decisions ORDER BY seq DESC LIMIT 1")
        return Head(*rows[0]) if rows else Head()

    def breaks(self, *heads: Head) -> list[Break]:
        """Return where the history was changed after it was written, and nobody has accepted that.

        Args:
            heads: Newest rows of earlier times, kept elsewhere, besides the one beside the ledger.
        """
        kept = read_head(self.head_path)  # before the rows: what is decided meanwhile is newer
        rows = self._rows(_SELECT_ROWS)
        accepted = {
            (each["seq"], each["hash"])
            for evidence in (json.loads(row[7]) for row in rows if row[2] == "accept_breaks")
            for each in evidence["breaks"]
        }
        chain = (Row(row[0], row[1:8], *row[8:]) for row in rows)
        found = find_breaks(chain, (kept, *heads))
        return [each for each in found if (each.seq, each.hash) not in accepted]

    def check_history(self) -> None:
        """Refuse to go on from a history that was changed after it was written.

        Raises:
            IntegrityError: It was.
        """
        if found := self.breaks():
            raise IntegrityError(
                f"The decision history in {self.path} was changed after it was written: {found[0].what}",
                fix=REMEDY,
            )

    def accept_breaks(self, actor: str, reason: str, *heads: Head) -> list[Break]:
        """Record, in the history itself, that somebody knows of every break in it; they are no longer reported then.

        Args:
            actor: Who.
            reason: What happened.
            heads: As in `breaks`.
        """
        found = self.breaks(*heads)
        if found:
            self.head_path.unlink(missing_ok=True)  # a tail that was cut off would be missed for ever
            evidence = {"breaks": [asdict(each) for each in found]}
            self.record(Decision("accept_breaks", None, None, actor, reason, evidence))
        return found

    def _append(self, connection: sqlite3.Connection, decision: Decision) -> Decision:
        """Append within a transaction."""
        last = connection.execute(
            "SELECT seq, COALESCE(hash, '') FROM decisions ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        seq, previous = last or (0, GENESIS)
        written = replace(decision, at=decision.at or time.time(), seq=seq + 1)
        content = (
            written.at,
            written.kind,
            written.environment,
            written.version,
            written.actor,
            written.reason,
            json.dumps(written.evidence, allow_nan=False),
        )
        self._newest = Head(written.seq, hash_row(previous, written.seq, content))
        connection.execute(_APPEND, (written.seq, *content, previous, self._newest.hash))
        return written

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._newest = None
        with super()._transaction() as connection:
            yield connection
        if self._newest is not None:
            keep_head(self.head_path, self._newest)

    def _fill(self, connection: sqlite3.Connection, table: str) -> None:
        """Make a chain of what a program without one has written."""
        if table != "decisions":
            return
        rows = connection.execute(_SELECT_ROWS).fetchall()
        previous = GENESIS
        for row in rows:
            seq, content = row[0], row[1:8]
            sealed = hash_row(previous, seq, content)
            connection.execute(
                "UPDATE decisions SET previous = ?, hash = ? WHERE seq = ?", (previous, sealed, seq)
            )
            previous = sealed


def _decision(row: tuple[Any, ...]) -> Decision:
    kind, environment, version, actor, reason, evidence, at, seq = row
    return Decision(kind, environment, version, actor, reason, json.loads(evidence), at, seq)
