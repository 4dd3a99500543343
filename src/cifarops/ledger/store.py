"""The store of predictions, feedback, decisions and environments.

Every public method is one transaction, so a process killed at any moment leaves all of it or nothing of it.
"""

import json
import sqlite3
import time
from dataclasses import astuple, replace
from typing import Any

from cifarops.errors import ConflictError
from cifarops.ledger.predictions import Predictions
from cifarops.ledger.records import (
    Decision,
    DecisionKind,
    EnvironmentName,
    EnvironmentState,
)

_SELECT_DECISIONS = "SELECT kind, environment, version, actor, reason, evidence, at, seq FROM decisions"
# Columns are named, so that one more does not hinder an older program that shares the file.
_SELECT_STATE = (
    "SELECT name, generation, version, digest, previous_version, previous_digest, since, code, previous_code"
    " FROM environments WHERE name = ?"
)
_REPLACE_STATE = (
    "INSERT OR REPLACE INTO environments"
    " (name, generation, version, digest, previous_version, previous_digest, since, code, previous_code)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Ledger(Predictions):
    """The ledger in one SQLite file; made when absent. One object may be used by one thread at a time."""

    # --- decisions and environments

    def record(self, decision: Decision) -> Decision:
        """Append to the decision history; returns it with its time and position."""
        with self._transaction() as connection:
            return _insert_decision(connection, decision)

    def decisions(self, *, environment: EnvironmentName | None = None, last: int = 100) -> list[Decision]:
        """Return the newest decisions, oldest first, of one environment or of all."""
        rows = self._rows(
            f"{_SELECT_DECISIONS} WHERE ? IS NULL OR environment = ? ORDER BY seq DESC LIMIT ?",
            (environment, environment, last),
        )[::-1]
        return [_decision(row) for row in rows]

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
                _insert_decision(connection, decision)

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

    def environment(self, name: EnvironmentName) -> EnvironmentState:
        """Return what an environment runs; generation 0 where nothing was ever promoted."""
        rows = self._rows(_SELECT_STATE, (name,))
        return EnvironmentState(*rows[0]) if rows else EnvironmentState(name)

    def swap(self, seen: EnvironmentState, wanted: EnvironmentState, decision: Decision) -> EnvironmentState:
        """Compare-and-swap an environment and record why, in one transaction.

        Args:
            seen: The state that the decision was based on.
            wanted: The new state; its generation and time are set here.
            decision: What is written to the history.

        Raises:
            ConflictError: The environment has changed since `seen`.
        """
        state = replace(wanted, generation=seen.generation + 1, since=time.time())
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT generation, version FROM environments WHERE name = ?", (seen.name,)
            ).fetchone()
            if (row[0] if row else 0) != seen.generation:
                raise ConflictError(
                    f"{seen.name} was changed by someone else: it now runs version {row[1] if row else None}.",
                    fix="Look with: cifarops deploy status. Then decide again.",
                )
            connection.execute(_REPLACE_STATE, astuple(state))
            _insert_decision(connection, decision)
        return state

    # --- running servers

    def announce_server(self, environment: EnvironmentName, url: str, pid: int) -> None:
        """Say that a server of an environment answers at `url`."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO servers VALUES (?, ?, ?, ?)", (url, environment, pid, time.time())
            )

    def retire_server(self, url: str, pid: int | None = None) -> None:
        """Say that the server at `url` is gone; with `pid`, only if it is that process that was announced last."""
        with self._transaction() as connection:
            connection.execute(
                "DELETE FROM servers WHERE url = ? AND (? IS NULL OR pid = ?)", (url, pid, pid)
            )

    def servers(self, environment: EnvironmentName) -> list[str]:
        """Return the URLs announced for an environment; one that was killed may still be among them."""
        rows = self._rows("SELECT url FROM servers WHERE environment = ? ORDER BY started", (environment,))
        return [url for (url,) in rows]


def _decision(row: tuple[Any, ...]) -> Decision:
    kind, environment, version, actor, reason, evidence, at, seq = row
    return Decision(kind, environment, version, actor, reason, json.loads(evidence), at, seq)


def _insert_decision(connection: sqlite3.Connection, decision: Decision) -> Decision:
    at = decision.at or time.time()
    cursor = connection.execute(
        "INSERT INTO decisions (at, kind, environment, version, actor, reason, evidence) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            at,
            decision.kind,
            decision.environment,
            decision.version,
            decision.actor,
            decision.reason,
            json.dumps(decision.evidence, allow_nan=False),
        ),
    )
    return replace(decision, at=at, seq=int(cursor.lastrowid or 0))
