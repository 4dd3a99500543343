"""MLflow's file, made by real processes that are killed."""

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from cifarops.errors import IntegrityError, UnavailableError
from cifarops.mlflow_store import prepare_store
from cifarops.training.tracking import Tracker

pytestmark = pytest.mark.integration
PROGRAM = "import sys; from cifarops.mlflow_store import prepare_store; prepare_store(sys.argv[1], fix='')"


def _start(uri: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, uri], stderr=subprocess.PIPE)


def _tables(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return int(
            connection.execute("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
        )


def test_killed_while_the_tables_are_made_it_leaves_no_file_and_the_next_one_works(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    process = _start(uri)
    deadline = time.monotonic() + 120
    while not any(made.stat().st_size for made in tmp_path.glob(".tmp-*/mlflow.db")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not path.exists()
    assert list(tmp_path.glob(".tmp-*"))
    path.touch()  # an empty file is none
    both = [_start(uri) for _ in range(2)]  # the second waits for the first
    assert [process.wait(300) for process in both] == [0, 0]
    for process in both:
        process.communicate()
    assert _tables(path) > 20
    assert sorted(found.name for found in tmp_path.iterdir()) == ["mlflow.db", "mlflow.db.lock"]
    client = MlflowClient(tracking_uri=uri)
    assert client.get_experiment(client.create_experiment("here")).name == "here"
    prepare_store(uri, fix="")
    assert client.get_experiment_by_name("here") is not None


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    program = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); {PROGRAM}"
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    process = subprocess.run([sys.executable, "-c", program, uri], stderr=subprocess.PIPE, check=False)
    last = process.stderr.decode().splitlines()[-1]
    assert last.startswith("cifarops.errors.UnavailableError: The database ")
    assert [found.name for found in tmp_path.iterdir()] == ["mlflow.db.lock"]


def test_a_store_that_can_no_more_be_written_fails_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mlflow.db"
    tracker = Tracker(f"sqlite:///{path}", runs=tmp_path / "runs")
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON runs BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
        )
    with pytest.raises(UnavailableError, match=r"can't be used: \(sqlite3\.\w+\) disk is full\.$"):
        tracker.start({}, {"profile": "smoke"})
    assert "Traceback" not in capfd.readouterr().err


def test_a_damaged_file_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(IntegrityError, match="can't be read") as caught:
        prepare_store(f"sqlite:///{path}", fix="Restore a copy.")
    assert caught.value.fix == "Restore a copy."
    assert path.read_bytes() == b"no database" * 100


def test_a_server_is_left_alone() -> None:
    prepare_store("http://127.0.0.1:9", fix="")
