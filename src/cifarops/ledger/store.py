"""The store of predictions, feedback, decisions and environments.

Every public method is one transaction, so a process killed at any moment leaves all of it or nothing of it.
"""

import json
import time
from dataclasses import asdict, replace
from typing import Any

from cifarops.errors import ConflictError
from cifarops.ledger.comparisons import Comparisons
from cifarops.ledger.history import History
from cifarops.ledger.records import Canary, Decision, EnvironmentName, EnvironmentState, Shadow

# Columns are named, so that one more does not hinder an older program that shares the file.
_SELECT_STATE = (
    "SELECT name, generation, version, digest, previous_version, previous_digest, since, code, previous_code,"
    " canary, shadow FROM environments WHERE name = ?"
)
_REPLACE_STATE = (
    "INSERT OR REPLACE INTO environments"
    " (name, generation, version, digest, previous_version, previous_digest, since, code, previous_code,"
    " canary, shadow) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Ledger(Comparisons, History):
    """The ledger in one SQLite file; made when absent. One object may be used by one thread at a time."""

    # --- environments

    def environment(self, name: EnvironmentName) -> EnvironmentState:
        """Return what an environment runs; generation 0 where nothing was ever promoted."""
        rows = self._rows(_SELECT_STATE, (name,))
        return _state(rows[0]) if rows else EnvironmentState(name)

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
            connection.execute(_REPLACE_STATE, _state_row(state))
            self._append(connection, decision)
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


def _state(row: tuple[Any, ...]) -> EnvironmentState:
    *plain, canary, shadow = row
    return replace(
        EnvironmentState(*plain),
        canary=Canary(**json.loads(canary)) if canary else None,
        shadow=Shadow(**json.loads(shadow)) if shadow else None,
    )


def _state_row(state: EnvironmentState) -> list[Any]:
    """Return the columns of an environment; what runs beside the stable version is written as JSON."""
    return [json.dumps(value) if isinstance(value, dict) else value for value in asdict(state).values()]
