import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from cifarops.flow.rehearsal.keeper import end_all, kept, marked

# Sleeps, ignores SIGTERM, and is in a session of its own.
_STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
# Holds a place and starts somebody in it.
_HOLDER = """
import subprocess, sys, time
from pathlib import Path
from cifarops.flow.rehearsal.keeper import kept
with kept(Path(sys.argv[1])):
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    print(child.pid, flush=True)
    time.sleep(600)
"""


def test_whoever_was_started_is_ended_with_the_block(tmp_path: Path) -> None:
    with kept(tmp_path):
        gentle = subprocess.Popen(["sleep", "600"], start_new_session=True)
        stubborn = subprocess.Popen(
            [sys.executable, "-c", _STUBBORN], start_new_session=True, stdout=subprocess.PIPE, text=True
        )
        assert stubborn.stdout is not None
        assert stubborn.stdout.readline() == "ready\n"
        assert {each.pid for each in marked(tmp_path)} == {gentle.pid, stubborn.pid}
    assert gentle.wait(5) == -signal.SIGTERM
    assert stubborn.wait(5) == -signal.SIGKILL
    stubborn.stdout.close()
    assert "REHEARSAL_PLACE" not in os.environ


def test_whoever_was_not_started_there_goes_on(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as other:
        with kept(tmp_path):
            assert marked(tmp_path / "elsewhere") == []
        assert other.poll() is None
        other.terminate()


def test_the_death_of_the_holder_ends_them(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    child = psutil.Process(int(holder.stdout.readline()))
    holder.kill()
    holder.communicate()
    child.wait(30)


def test_what_an_earlier_one_left_is_ended_first(tmp_path: Path) -> None:
    left = subprocess.Popen(["sleep", "600"], env={**os.environ, "REHEARSAL_PLACE": str(tmp_path)})
    deadline = time.monotonic() + 10
    while not marked(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    end_all(tmp_path)
    left.wait(5)
    assert marked(tmp_path) == []
