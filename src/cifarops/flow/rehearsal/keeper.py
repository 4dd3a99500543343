"""Nothing that a rehearsal started outlives it, however it ends.

A rehearsal marks its place in the environment, which every process that it starts inherits, and starts a keeper, which
does not carry the mark. The keeper waits until the rehearsal is gone, killed or not, and ends whoever carries the mark.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from cifarops.errors import UnavailableError

_MARK = "REHEARSAL_PLACE"
_GRACE_SECONDS = 5.0
_PAUSE_SECONDS = 0.2
# How often in a row nobody must be found: somebody who dies may have started somebody a moment before.
_LOOKS = 3
_KEEPER_SECONDS = 60.0


@contextmanager
def kept(place: Path) -> Iterator[None]:
    """End, when the block ends or this process dies, every process that was started in the block.

    Args:
        place: Folder of the rehearsal.

    Raises:
        UnavailableError: The keeper can't end them.
    """
    keeper = subprocess.Popen(
        [sys.executable, "-m", "cifarops.flow.rehearsal.keeper", str(place)],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is not for it
    )
    os.environ[_MARK] = str(place)
    try:
        yield
    finally:
        del os.environ[_MARK]
        if keeper.stdin:
            keeper.stdin.close()
        if keeper.wait(_KEEPER_SECONDS):
            raise UnavailableError(
                f"Processes of the rehearsal in {place} could not be ended.",
                fix=f"Look for them: grep -l {_MARK}={place} /proc/*/environ",
            )


def marked(place: Path) -> list[psutil.Process]:
    """Return the processes that a rehearsal in `place` has started and that still run."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            is_ours = process.pid != os.getpid() and process.environ().get(_MARK) == str(place)
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_all(place: Path) -> None:
    """End them: gracefully, by force where that takes too long, and again until there is none."""
    unseen = 0
    while unseen < _LOOKS:
        running = marked(place)
        for process in running:
            with suppress(psutil.Error):
                process.terminate()
        _, stubborn = psutil.wait_procs(running, timeout=_GRACE_SECONDS)
        for process in stubborn:
            with suppress(psutil.Error):
                process.kill()
        unseen = 0 if running else unseen + 1
        time.sleep(_PAUSE_SECONDS if unseen < _LOOKS else 0)


def main() -> None:
    """Wait until standard input closes, then end everybody."""
    sys.stdin.buffer.read()
    end_all(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
