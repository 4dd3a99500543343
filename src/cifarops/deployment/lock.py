"""One deployment at a time for each environment of a workspace."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifarops import files
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
    refusal = ConflictError(
        f"Another deployment is changing the servers of {environment} now.",
        fix="Wait until it has ended, look with cifarops deploy status, and decide again.",
    )
    with files.locked(run / f"{environment}.lock", otherwise=refusal):
        yield
