"""The ledger's SQLite file in WAL mode: its tables, its transactions, and what its errors mean."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from cifarops.errors import IntegrityError, UnavailableError
from cifarops.files import says_damaged

_FULL = "Check that the disk is not full and the file may be read and written, then run it again."
_DAMAGED = (
    "It is damaged: restore a copy, or move it away to begin a new one, and let each environment run a version again:"
    " cifarops deploy promote."
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS predictions (
  seq INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, at REAL NOT NULL, environment TEXT NOT NULL,
  version INTEGER NOT NULL, label INTEGER NOT NULL, probabilities BLOB NOT NULL, image BLOB, traits BLOB);
CREATE INDEX IF NOT EXISTS predictions_by_environment ON predictions (environment, seq);
CREATE TABLE IF NOT EXISTS classes (version INTEGER PRIMARY KEY, names TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS feedback (
  prediction_id TEXT PRIMARY KEY REFERENCES predictions (id), label INTEGER NOT NULL, at REAL NOT NULL,
  actor TEXT);
CREATE TABLE IF NOT EXISTS environments (
  name TEXT PRIMARY KEY, generation INTEGER NOT NULL, version INTEGER, digest TEXT,
  previous_version INTEGER, previous_digest TEXT, since REAL NOT NULL, code TEXT, previous_code TEXT,
  canary TEXT, shadow TEXT);
CREATE TABLE IF NOT EXISTS attempts (
  seq INTEGER PRIMARY KEY, at REAL NOT NULL, environment TEXT NOT NULL, version INTEGER NOT NULL,
  failed INTEGER NOT NULL, seconds REAL NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_by_environment ON attempts (environment, at);
CREATE TABLE IF NOT EXISTS shadows (
  seq INTEGER PRIMARY KEY, prediction_id TEXT NOT NULL, at REAL NOT NULL, environment TEXT NOT NULL,
  version INTEGER NOT NULL, label INTEGER NOT NULL, probabilities BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS shadows_by_environment ON shadows (environment, version, at);
CREATE TABLE IF NOT EXISTS servers (
  url TEXT PRIMARY KEY, environment TEXT NOT NULL, pid INTEGER NOT NULL, started REAL NOT NULL);
CREATE TABLE IF NOT EXISTS decisions (
  seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, environment TEXT, version INTEGER,
  actor TEXT NOT NULL, reason TEXT NOT NULL, evidence TEXT NOT NULL, previous TEXT, hash TEXT);
"""
# Columns that a ledger of an older program lacks.
_LATER_COLUMNS = {
    "environments": {"code": "TEXT", "previous_code": "TEXT", "canary": "TEXT", "shadow": "TEXT"},
    "decisions": {"previous": "TEXT", "hash": "TEXT"},
    "feedback": {"actor": "TEXT"},
    "predictions": {"traits": "BLOB"},
}
_PATIENCE_SECONDS = 10


class Database:
    """One SQLite file; made when absent. One object may be used by one thread at a time.

    Args:
        path: The file.

    Raises:
        IntegrityError: The file is not a usable ledger.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA foreign_keys = ON")
            self._connection.executescript(_SCHEMA)
        self._migrate()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _migrate(self) -> None:
        """Add the columns that are missing; servers of an older program go on working with the file."""
        if not any(self._missing(table) for table in _LATER_COLUMNS):
            return
        with self._transaction() as connection:  # looks again: another process may have been faster
            for table in _LATER_COLUMNS:
                missing = self._missing(table)
                for column, kind in missing.items():
                    connection.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
                if missing:
                    self._fill(connection, table)

    def _fill(self, connection: sqlite3.Connection, table: str) -> None:
        """Give the rows that a table has already what its new columns should hold; by default nothing."""

    def _missing(self, table: str) -> dict[str, str]:
        found = {name for (name,) in self._rows("SELECT name FROM pragma_table_info(?)", (table,))}
        return {name: kind for name, kind in _LATER_COLUMNS[table].items() if name not in found}

    def _rows(self, query: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Return all rows of a query."""
        with self._explained():
            return self._connection.execute(query, parameters).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite has rolled back by itself when the disk is full
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise UnavailableError(
                    f"The ledger {self.path} is held by another process for more than {_PATIENCE_SECONDS} s.",
                    fix="Run it again; if it stays so, find the process that holds the file open.",
                ) from error
            raise _unusable(self.path, error) from error


def require_undamaged(path: Path) -> None:
    """Refuse a file that is no ledger, or a damaged one; one that can't be read just now passes.

    Raises:
        IntegrityError: It is; says how to go on.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        if says_damaged(error):
            raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> IntegrityError:
    return IntegrityError(
        f"The ledger {path} can't be used: {error}.", fix=_DAMAGED if says_damaged(error) else _FULL
    )
