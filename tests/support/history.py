"""Doing to a decision history what it is there to find."""

import sqlite3
from contextlib import closing
from pathlib import Path

from cifarops.ledger.chain import GENESIS, Head, hash_row


def rechain(path: Path) -> None:
    """Write every hash anew, and the head, as somebody does who knows how they are made and may write everything."""
    with closing(sqlite3.connect(path)) as connection, connection:
        previous = GENESIS
        for seq, *content in connection.execute(
            "SELECT seq, at, kind, environment, version, actor, reason, evidence FROM decisions ORDER BY seq"
        ).fetchall():
            own = hash_row(previous, seq, tuple(content))
            connection.execute(
                "UPDATE decisions SET previous = ?, hash = ? WHERE seq = ?", (previous, own, seq)
            )
            previous = own
        path.with_suffix(".head").write_text(f"{Head(seq, previous)}\n")
