import hashlib
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarops.errors import IntegrityError
from cifarops.files import (
    canonical_json,
    check_database,
    publish_directory,
    sha256_file,
    staged_directory,
    write_atomic,
)

_SIZE = 2_000_000


def test_hash_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"content").hexdigest()


@given(
    st.dictionaries(st.text(), st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False))
)
def test_canonical_json_does_not_depend_on_order(value: dict[str, object]) -> None:
    assert canonical_json(value) == canonical_json(dict(reversed(value.items())))


def test_canonical_json_refuses_what_json_has_not() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_write_atomic_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_is_killed_leaves_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "file"
    program = (
        "import sys\nfrom pathlib import Path\nfrom cifarops.files import write_atomic\n"
        f"k = 0\nwhile True:\n    write_atomic(Path({str(path)!r}), bytes([k % 256]) * {_SIZE})\n    k += 1\n"
        "    k == 1 and print('ready', flush=True)\n"
    )
    for delay in (0.01, 0.03, 0.08):
        writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        content = path.read_bytes()
        assert len(content) == _SIZE
        assert len(set(content)) == 1


def test_staged_directory_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fill_and_fail() -> None:
        with staged_directory(tmp_path) as staged:
            (staged / "half").write_bytes(b"1")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        fill_and_fail()
    assert list(tmp_path.iterdir()) == []
    with staged_directory(tmp_path) as staged:
        (staged / "file").write_bytes(b"whole")
        publish_directory(staged, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert (tmp_path / "target" / "file").read_bytes() == b"whole"


def test_the_first_of_two_publishers_is_kept(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        with staged_directory(tmp_path) as staged:
            (staged / "file").write_bytes(content)
            publish_directory(staged, tmp_path / "target")
    assert (tmp_path / "target" / "file").read_bytes() == b"first"
    assert len(list(tmp_path.iterdir())) == 1


def test_leftovers_of_the_dead_are_swept_and_those_of_the_living_kept(tmp_path: Path) -> None:
    dead = multiprocessing.get_context("spawn").Process()
    dead.start()
    dead.join()
    (tmp_path / f".tmp-{dead.pid}-00000000-dir").mkdir()
    (tmp_path / f".tmp-{dead.pid}-00000000-file").write_bytes(b"")
    (tmp_path / f".tmp-{os.getppid()}-00000000-dir").mkdir()
    with staged_directory(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [f".tmp-{os.getppid()}-00000000-dir"]


def test_check_database_passes_what_is_missing_empty_or_whole(tmp_path: Path) -> None:
    check_database(tmp_path / "missing.db", fix="-")
    assert not (tmp_path / "missing.db").exists()
    (tmp_path / "empty.db").touch()
    check_database(tmp_path / "empty.db", fix="-")
    _database(tmp_path / "whole.db")
    check_database(tmp_path / "whole.db", fix="-")


@pytest.mark.parametrize("damage", ["other", "torn"])
def test_check_database_refuses_what_is_damaged(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.db"
    _database(path)
    content = path.read_bytes()
    path.write_bytes(b"#!/bin/sh\n" * 1000 if damage == "other" else content[: len(content) // 2])
    with pytest.raises(IntegrityError) as caught:
        check_database(path, fix="restore it")
    assert caught.value.fix == "restore it"


def test_a_whole_database_that_can_not_be_read_now_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    _database(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    limited = (
        "import resource, sys; from pathlib import Path; from cifarops.files import check_database\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "check_database(Path(sys.argv[1]), fix='move it away')"
    )
    ended = subprocess.run([sys.executable, "-c", limited, path], capture_output=True, text=True, check=False)
    assert "UnavailableError: The database" in ended.stderr
    assert "can't be read now: disk I/O error" in ended.stderr


def _database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (value TEXT)")
    connection.executemany("INSERT INTO t VALUES (?)", [("x" * 1000,)] * 100)
    connection.commit()
    connection.close()
