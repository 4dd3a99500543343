"""One deployment at a time for each environment of a workspace."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifarops.errors import ConflictError
from cifarops.ledger.records import EnvironmentName


@contextmanager
def locked(run: Path, environment: EnvironmentName) -> Iterator[None]:
    """Hold an environment's lock; the end of this process in any way gives it back.

    Args:
        run: Directory of locks.
        environment: Whose processes are about to change.

    Raises:
        ConflictError: Another process holds it.
    """
    run.mkdir(parents=True, exist_ok=True)
    with (run / f"{environment}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(
                f"Another deployment is changing the servers of {environment} now.",
                fix="Wait until it has ended, look with cifarops deploy status, and decide again.",
            ) from error
        yield
