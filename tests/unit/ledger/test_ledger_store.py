import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cifarops.errors import ConflictError, DataError, IntegrityError, UnavailableError, UsageError
from cifarops.ledger.database import require_undamaged
from cifarops.ledger.records import Decision, EnvironmentState, Prediction
from cifarops.ledger.store import Ledger

PROMOTE = Decision("promote", "production", 1, "ada", "because", {"p": 0.1})


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


def prediction(
    name: str, *, version: int = 1, classes: int = 3, side: int | None = None, at: float = 1.0
) -> Prediction:
    probabilities = np.full(classes, 1 / classes, np.float32)
    image = None if side is None else np.full((side, side, 3), len(name), np.uint8)
    return Prediction(name, at, "production", version, 0, probabilities, image)


def run(*programs: str) -> list[tuple[int, str, str]]:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for program in programs
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def test_window_gives_back_what_was_stored_oldest_first(ledger: Ledger) -> None:
    ledger.add_predictions([prediction("a", at=1.5), prediction("b", version=2, at=2.5)])
    ledger.add_predictions([prediction("c", at=3.5)])
    ledger.add_feedback("a", 2)
    window = ledger.window("production", last=10)
    assert window.ids == ("a", "b", "c")
    assert window.at.tolist() == [1.5, 2.5, 3.5]
    assert window.versions.tolist() == [1, 2, 1]
    assert window.truth.tolist() == [2, -1, -1]
    assert window.probabilities.dtype == np.float32
    np.testing.assert_array_equal(window.probabilities, np.full((3, 3), 1 / 3, np.float32))
    assert ledger.window("production", last=2).ids == ("b", "c")
    assert ledger.window("production", last=2, version=1).ids == ("a", "c")
    assert ledger.window("production", last=2, labelled=True).ids == ("a",)
    assert len(ledger.window("staging", last=2)) == 0


def test_predictions_are_read_on_from_where_the_last_reading_ended(ledger: Ledger) -> None:
    ledger.add_predictions([prediction(name, version=1 + (name == "b")) for name in "abcd"])
    first = ledger.predictions_after("production", seq=0, version=1, limit=2)
    rest = ledger.predictions_after("production", seq=int(first.seqs[-1]), version=1, limit=2)
    assert (first.ids, rest.ids) == (("a", "c"), ("d",))
    assert len(ledger.predictions_after("production", seq=int(rest.seqs[-1]), version=1, limit=2)) == 0


def test_traits_come_back_and_are_nan_where_none_were_kept(ledger: Ledger) -> None:
    traits = np.array([1.5, -2], np.float16)
    ledger.add_predictions([prediction("a"), replace(prediction("b"), traits=traits)])
    window = ledger.window("production", last=2)
    assert window.traits.dtype == np.float16
    np.testing.assert_array_equal(window.traits, [[np.nan, np.nan], [1.5, -2]])
    assert ledger.window("production", last=1, version=2).traits.shape == (0, 0)


def test_an_image_is_stored_only_where_it_is_to_be_kept(ledger: Ledger) -> None:
    ledger.add_predictions([replace(prediction("a", side=4), keep_image=False), prediction("b", side=4)])
    for name in "ab":
        ledger.add_feedback(name, 1)
    assert len(ledger.labelled_images("production", last=9)[1]) == 1


def test_versions_with_other_classes_are_not_mixed_up(ledger: Ledger) -> None:
    ledger.add_predictions([prediction("a", classes=2), prediction("b", version=2, classes=4)])
    with pytest.raises(DataError, match="different numbers of classes"):
        ledger.window("production", last=2)
    assert ledger.window("production", last=2, version=2).probabilities.shape == (1, 4)


def test_a_batch_is_stored_whole_or_not_at_all(ledger: Ledger) -> None:
    with pytest.raises(IntegrityError):
        ledger.add_predictions([prediction("a"), prediction("a")])
    assert len(ledger.window("production", last=2)) == 0
    ledger.add_predictions([prediction("a")])


def test_a_label_by_name_is_what_the_version_that_answered_calls_it(ledger: Ledger) -> None:
    ledger.add_predictions([replace(prediction("a"), classes=("cat", "dog", "cow"))])
    ledger.add_predictions([replace(prediction("b", version=2), classes=("cow", "cat", "pig"))])
    ledger.add_predictions([prediction("c", version=3)])
    assert (ledger.class_index("a", "cow"), ledger.class_index("b", "cow")) == (2, 0)
    with pytest.raises(DataError, match="'pig' is not a class of version 1") as caught:
        ledger.class_index("a", "pig")
    assert "cat, dog, cow" in caught.value.fix
    with pytest.raises(DataError, match="version 3"):
        ledger.class_index("c", "cow")
    with pytest.raises(UsageError, match="no prediction 'x'"):
        ledger.class_index("x", "cow")


def test_feedback_is_idempotent_and_contradiction_a_conflict(ledger: Ledger) -> None:
    ledger.add_predictions([prediction("a")])
    assert ledger.add_feedback("a", 1) == "recorded"
    assert ledger.add_feedback("a", 1) == "known"
    with pytest.raises(ConflictError, match="labelled 1 before"):
        ledger.add_feedback("a", 2)
    with pytest.raises(UsageError, match="no prediction 'x'"):
        ledger.add_feedback("x", 1)
    assert ledger.window("production", last=1).truth.tolist() == [1]


def test_labelled_images_are_the_newest_of_one_size(ledger: Ledger) -> None:
    assert ledger.labelled_images("production", last=5)[0].shape == (0, 0, 0, 3)
    ledger.add_predictions(
        [prediction("a", side=4), prediction("bb", side=8), prediction("ccc", side=8), prediction("d")]
    )
    for name, label in (("a", 0), ("bb", 1), ("ccc", 2), ("d", 0)):
        ledger.add_feedback(name, label)
    images, labels = ledger.labelled_images("production", last=5)
    assert images.shape == (2, 8, 8, 3)
    assert images[:, 0, 0, 0].tolist() == [2, 3]
    assert labels.tolist() == [1, 2]
    assert ledger.labelled_images("production", last=1)[1].tolist() == [2]


def test_decisions_are_kept_in_order_with_their_evidence(ledger: Ledger) -> None:
    first = ledger.record(PROMOTE)
    second = ledger.record(replace(PROMOTE, kind="drift_alarm", environment="staging", version=2))
    assert first.seq < second.seq
    assert abs(first.at - time.time()) < 3600
    assert ledger.decisions() == [first, second]
    assert ledger.decisions(environment="staging") == [second]
    assert ledger.decisions(last=1) == [second]
    assert ledger.count_decisions("promote") == 1
    assert ledger.count_decisions("promote", version=2) == 0


def test_an_alarm_and_its_end_take_turns_for_each_version_and_environment(ledger: Ledger) -> None:
    alarm = replace(PROMOTE, kind="drift_alarm")
    cleared = replace(PROMOTE, kind="drift_cleared")

    def turn(decision: Decision) -> None:
        opposite = cleared.kind if decision.kind == alarm.kind else alarm.kind
        ledger.record_turn(decision, opposite=opposite, may_begin=decision.kind == alarm.kind)

    for decision in (cleared, alarm, alarm, cleared, cleared, alarm):
        turn(decision)
    turn(replace(alarm, version=2))
    turn(replace(alarm, environment="staging"))
    turn(replace(cleared, version=3))
    ledger.record(PROMOTE)
    turn(alarm)
    assert [(found.kind, found.environment, found.version) for found in ledger.decisions()] == [
        ("drift_alarm", "production", 1),
        ("drift_cleared", "production", 1),
        ("drift_alarm", "production", 1),
        ("drift_alarm", "production", 2),
        ("drift_alarm", "staging", 1),
        ("promote", "production", 1),
    ]


def test_of_many_processes_that_see_one_alarm_one_records_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    start = time.time() + 3  # all at the same moment
    program = f"""
import time
from pathlib import Path
from cifarops.ledger.records import Decision
from cifarops.ledger.store import Ledger
alarm = Decision("drift_alarm", "production", 1, "ada", "drift")
with Ledger(Path({str(path)!r})) as ledger:
    time.sleep(max(0, {start} - time.time()))
    for _ in range(20):
        ledger.record_turn(alarm, opposite="drift_cleared", may_begin=True)
"""
    outcomes = run(*[program] * 6)
    assert [code for code, _, _ in outcomes] == [0] * 6, outcomes
    with Ledger(path) as ledger:
        assert ledger.count_decisions("drift_alarm") == 1


def test_swap_needs_the_state_it_was_based_on(ledger: Ledger) -> None:
    empty = ledger.environment("production")
    assert empty == EnvironmentState("production")
    first = ledger.swap(empty, replace(empty, version=1, digest="d"), PROMOTE)
    assert (first.generation, first.version) == (1, 1)
    with pytest.raises(ConflictError, match="it now runs version 1"):
        ledger.swap(empty, replace(empty, version=2), PROMOTE)
    assert ledger.environment("production") == first
    assert ledger.count_decisions("promote") == 1


def test_a_decision_that_cannot_be_written_leaves_the_environment(ledger: Ledger) -> None:
    seen = ledger.environment("production")
    with pytest.raises(ValueError, match="JSON"):
        ledger.swap(seen, replace(seen, version=1), replace(PROMOTE, evidence={"p": float("nan")}))
    assert ledger.environment("production") == seen
    ledger.record(PROMOTE)  # and the ledger goes on


def test_servers_come_and_go(ledger: Ledger) -> None:
    ledger.announce_server("production", "http://127.0.0.1:1", 1)
    ledger.announce_server("staging", "http://127.0.0.1:2", 2)
    assert ledger.servers("production") == ["http://127.0.0.1:1"]
    ledger.announce_server("production", "http://127.0.0.1:1", 3)  # the successor of 1, at the same address
    ledger.retire_server("http://127.0.0.1:1", 1)
    assert ledger.servers("production") == ["http://127.0.0.1:1"]
    ledger.retire_server("http://127.0.0.1:1", 3)
    assert ledger.servers("production") == []
    ledger.retire_server("http://127.0.0.1:2")
    assert ledger.servers("staging") == []


_BEFORE_CODE = """
CREATE TABLE environments (
  name TEXT PRIMARY KEY, generation INTEGER NOT NULL, version INTEGER, digest TEXT,
  previous_version INTEGER, previous_digest TEXT, since REAL NOT NULL);
INSERT INTO environments VALUES ('production', 7, 3, 'ddd', 2, 'ccc', 1.5);
"""


def test_a_ledger_of_before_code_releases_opens_and_gains_them(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(_BEFORE_CODE)
    programs = [f"""
from pathlib import Path
from cifarops.ledger.store import Ledger
print(Ledger(Path({str(path)!r})).environment("production").generation)
"""] * 4
    assert run(*programs) == [(0, "7\n", "")] * 4
    with Ledger(path) as ledger:
        seen = ledger.environment("production")
        assert seen == EnvironmentState("production", 7, 3, "ddd", 2, "ccc", 1.5)
        ledger.swap(seen, replace(seen, code="new", previous_code="old"), PROMOTE)
        state = ledger.environment("production")
        assert (state.version, state.code, state.previous_code) == (3, "new", "old")


def test_of_concurrent_promotions_exactly_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        seen = ledger.environment("production")
    start = time.time() + 1.5
    programs = [f"""
import time
from dataclasses import replace
from pathlib import Path
from cifarops.errors import ConflictError
from cifarops.ledger.records import Decision, EnvironmentState
from cifarops.ledger.store import Ledger
ledger = Ledger(Path({str(path)!r}))
seen = EnvironmentState("production")
time.sleep(max(0, {start} - time.time()))
try:
    ledger.swap(seen, replace(seen, version={k}), Decision("promote", "production", {k}, "ada", ""))
    print("won")
except ConflictError:
    print("lost")
""" for k in range(1, 5)]
    outcomes = run(*programs)
    assert sorted(output.strip() for _, output, _ in outcomes) == ["lost", "lost", "lost", "won"], outcomes
    with Ledger(path) as ledger:
        state = ledger.environment("production")
        assert state.generation == seen.generation + 1
        assert [decision.version for decision in ledger.decisions()] == [state.version]


def test_many_processes_may_open_a_new_ledger_at_once(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from cifarops.ledger.records import Decision
from cifarops.ledger.store import Ledger
Ledger(Path({str(tmp_path / 'ledger.db')!r})).record(Decision("gate", None, None, "ada", ""))
"""
    outcomes = run(*[program] * 6)
    assert [code for code, _, _ in outcomes] == [0] * 6, outcomes
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.count_decisions("gate") == 6


def test_a_writer_that_is_killed_leaves_whole_batches(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    program = f"""
from pathlib import Path
import numpy as np
from cifarops.ledger.records import Prediction
from cifarops.ledger.store import Ledger
ledger, k = Ledger(Path({str(path)!r})), 0
while True:
    ledger.add_predictions([Prediction(f"{{time.time_ns()}}-{{i}}", 0.0, "production", 1, 0, np.ones(3, np.float32),
        np.zeros((32, 32, 3), np.uint8)) for i in range(50)])
    k += 1
    k == 1 and print("ready", flush=True)
"""
    for delay in (0.0, 0.02, 0.1):
        writer = subprocess.Popen([sys.executable, "-c", "import time\n" + program], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        with Ledger(path) as ledger:
            ledger.record(PROMOTE)
            stored = len(ledger.window("production", last=1_000_000))
        assert stored >= 50
        assert stored % 50 == 0


@pytest.mark.parametrize("damage", ["text", "header", "directory"])
def test_a_file_that_is_no_ledger_is_refused_with_what_to_do(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "ledger.db"
    if damage == "directory":
        path.mkdir()
    elif damage == "text":
        path.write_text("not a database " * 1000)
    else:
        with Ledger(path) as ledger:
            ledger.record(PROMOTE)
        content = path.read_bytes()
        path.write_bytes(b"\0" * 100 + content[100:])
    with pytest.raises(IntegrityError, match="can't be used") as caught:
        Ledger(path)
    if damage == "directory":  # nothing that could be restored
        require_undamaged(path)
        assert "may be read and written" in caught.value.fix
    else:
        with pytest.raises(IntegrityError, match="can't be used"):
            require_undamaged(path)
        assert "move it away" in caught.value.fix


def test_a_ledger_that_is_whole_or_not_there_yet_is_undamaged(tmp_path: Path) -> None:
    require_undamaged(tmp_path / "ledger.db")
    with Ledger(tmp_path / "ledger.db"):
        require_undamaged(tmp_path / "ledger.db")


def test_damage_inside_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        ledger.add_predictions([prediction(str(k), side=32) for k in range(200)])
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with Ledger(path) as ledger, pytest.raises(IntegrityError):
        ledger.window("production", last=200)


def test_a_ledger_held_by_someone_else_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cifarops.ledger.database._PATIENCE_SECONDS", 0.1)
    path = tmp_path / "ledger.db"
    with Ledger(path) as ledger:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="held by another process"):
            ledger.record(PROMOTE)
        holder.execute("ROLLBACK")
        holder.close()
        ledger.record(PROMOTE)
