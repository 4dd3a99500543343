import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarops.errors import IntegrityError, UsageError
from cifarops.ledger.chain import GENESIS, Head, Row, find_breaks, hash_row
from cifarops.ledger.records import Decision
from cifarops.ledger.store import Ledger
from tests.support.history import rechain

PROMOTE = Decision("promote", "production", 1, "ada", "it is better", {"p": 0.01, "name": "Zoë"})
ROWS = 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        for number in range(ROWS):
            ledger.record(replace(PROMOTE, version=number))
        assert ledger.breaks() == []
        assert ledger.head().seq == ROWS
        assert str(ledger.head()) == ledger.head_path.read_text().strip()
    return path


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


EDITS = {
    "reason": ("UPDATE decisions SET reason = 'other' WHERE seq = 3",),
    "version": ("UPDATE decisions SET version = 9 WHERE seq = 3",),
    "time": ("UPDATE decisions SET at = at + 0.001 WHERE seq = 3",),
    "hash": ("UPDATE decisions SET hash = NULL WHERE seq = 3",),
    "removal": ("DELETE FROM decisions WHERE seq = 3",),
    "several": ("DELETE FROM decisions WHERE seq IN (2, 3, 4)",),
    "renumbered": (
        "DELETE FROM decisions WHERE seq = 3",
        *(f"UPDATE decisions SET seq = {n - 1} WHERE seq = {n}" for n in range(4, ROWS + 1)),
    ),
    "order": (
        "UPDATE decisions SET seq = 99 WHERE seq = 3",
        "UPDATE decisions SET seq = 3 WHERE seq = 4",
        "UPDATE decisions SET seq = 4 WHERE seq = 99",
    ),
    "insertion": (
        "INSERT INTO decisions (at, kind, actor, reason, evidence) VALUES (1, 'gate', 'eve', '', '{}')",
    ),
    "end": (f"DELETE FROM decisions WHERE seq = {ROWS}",),
    "everything": ("DELETE FROM decisions",),
}
FIRST = {"several": 5, "removal": 4, "insertion": ROWS + 1, "end": ROWS, "everything": 1}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_is_found_at_its_first_row(path: Path, edit: str) -> None:
    execute(path, *EDITS[edit])
    with Ledger(path) as ledger:
        assert ledger.breaks()[0].seq == FIRST.get(edit, 3)
        with pytest.raises(IntegrityError, match="was changed after it was written") as caught:
            ledger.check_history()
        assert "cifarops registry verify" in caught.value.fix


@pytest.mark.parametrize("edit", ["reason", "renumbered", "end"])
def test_a_chain_that_was_written_anew_does_not_fit_the_head_kept_elsewhere(path: Path, edit: str) -> None:
    with Ledger(path) as ledger:
        kept = ledger.head()
    execute(path, *EDITS[edit])
    rechain(path)
    path.with_suffix(".head").unlink()
    with Ledger(path) as ledger:
        assert ledger.breaks() == []
        assert ledger.breaks(kept)[0].seq == ROWS
        assert ledger.breaks(Head.parse(str(kept))) == ledger.breaks(kept)


def test_accepted_breaks_stay_on_record_and_new_ones_are_reported(path: Path) -> None:
    execute(path, *EDITS["reason"], *EDITS["end"])
    with Ledger(path) as ledger:
        found = ledger.accept_breaks("ada", "a slip of the hand")
        assert [each.seq for each in found] == [3, ROWS]
        assert ledger.breaks() == []
        assert ledger.accept_breaks("ada", "nothing") == []
        ledger.check_history()
        (accepted,) = [each for each in ledger.every_decision() if each.kind == "accept_breaks"]
        assert [each["seq"] for each in accepted.evidence["breaks"]] == [3, ROWS]
        ledger.record(PROMOTE)
        assert ledger.breaks() == []
    execute(path, "UPDATE decisions SET reason = 'again' WHERE seq = 2")
    with Ledger(path) as ledger:
        assert [each.seq for each in ledger.breaks()] == [2]


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(max_size=20), min_size=1, max_size=8),
    which=st.integers(min_value=0),
    change=st.text(max_size=20),
)
def test_no_text_can_be_exchanged_for_another(texts: list[str], which: int, change: str) -> None:
    rows, previous = [], GENESIS
    for seq, text in enumerate(texts, 1):
        own = hash_row(previous, seq, (0.1, text, None))
        rows.append(Row(seq, (0.1, text, None), previous, own))
        previous = own
    assert list(find_breaks(rows, [Head(len(rows), previous)])) == []
    place = which % len(rows)
    edited = replace(rows[place], content=(0.1, change, None))
    found = list(find_breaks([*rows[:place], edited, *rows[place + 1 :]], []))
    assert [each.seq for each in found] == ([] if change == texts[place] else [place + 1])


@pytest.mark.parametrize("text", ["", "3", "3:abc", f"x:{'0' * 64}", f"1:{'0' * 65}"])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no head"):
        Head.parse(text)


_BEFORE_THE_CHAIN = """
CREATE TABLE decisions (
  seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, environment TEXT, version INTEGER,
  actor TEXT NOT NULL, reason TEXT NOT NULL, evidence TEXT NOT NULL);
INSERT INTO decisions (at, kind, actor, reason, evidence) VALUES (1.5, 'gate', 'ada', '', '{}'), (2.5, 'gate', 'ada', '', '{}');
"""


def test_a_ledger_of_before_the_chain_is_sealed_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(_BEFORE_THE_CHAIN)
    with Ledger(path) as ledger:
        ledger.record(PROMOTE)
        assert (ledger.breaks(), ledger.head().seq) == ([], 3)
    execute(path, "UPDATE decisions SET actor = 'eve' WHERE seq = 1")
    with Ledger(path) as ledger:
        assert [each.seq for each in ledger.breaks()] == [1]


def _started(program: Callable[[Path], str], path: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", program(path)], stdout=subprocess.PIPE)


def _writer(path: Path) -> str:
    return f"""
from pathlib import Path
from cifarops.ledger.records import Decision
from cifarops.ledger.store import Ledger
from tests.support.history import rechain
with Ledger(Path({str(path)!r})) as ledger:
    print("ready", flush=True)
    while True:
        ledger.record(Decision("gate", None, None, "ada", "again"))
"""


def test_writers_at_once_that_are_killed_leave_a_whole_chain(path: Path) -> None:
    writers = [_started(_writer, path) for _ in range(3)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
    for writer in writers:
        time.sleep(0.1)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        with Ledger(path) as ledger:
            assert ledger.breaks() == []
    with Ledger(path) as ledger:
        assert ledger.head().seq > ROWS
        assert [each.seq for each in ledger.every_decision()] == list(range(1, ledger.head().seq + 1))


def test_evidence_is_hashed_as_it_was_written(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (text,) = connection.execute("SELECT evidence FROM decisions WHERE seq = 3").fetchone()
    reordered = json.dumps(dict(reversed(json.loads(text).items())))
    execute(path, f"UPDATE decisions SET evidence = '{reordered}' WHERE seq = 3")
    with Ledger(path) as ledger:
        assert [each.seq for each in ledger.breaks()] == [3]
