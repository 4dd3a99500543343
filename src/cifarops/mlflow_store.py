"""MLflow's store: its file is whole or not there, whatever was killed while MLflow made it, and its failures are brief."""

import logging
import os
from pathlib import Path

from cifarops.errors import UnavailableError
from cifarops.files import check_database, locked, staged_directory

_SQLITE = "sqlite:///"
_ARTIFACTS = "./mlruns"  # MLflow's own default; every experiment of ours names its place


def prepare_store(uri: str, *, fix: str) -> None:
    """Make the file of a `sqlite:///…` store where there is none, and refuse a damaged one at once.

    Left to itself MLflow makes the tables one by one, which takes seconds: interrupted there, it can't use the file any
    more. A damaged file it tries for minutes. Any other address is left alone.

    Args:
        uri: The store.
        fix: What the user is told to do about a damaged file.

    Raises:
        IntegrityError: The file is no intact database.
        UnavailableError: It can't be made or read now: the disk is full.
    """
    if not uri.startswith(_SQLITE):
        return
    path = Path(uri.removeprefix(_SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not _has_content(path):
        with locked(
            path.with_name(f"{path.name}.lock")
        ):  # of two at once, the second finds the first one's file
            if not _has_content(path):
                _make(path)
    check_database(path, fix=fix)


def hush() -> None:
    """Keep MLflow from printing each failure with its traceback before it raises it; call it once MLflow is imported."""
    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)


def reason(error: Exception) -> str:
    """Return the line of a failure in MLflow's store that says what happened, without the statement that failed."""
    lines = [line for line in str(error).splitlines() if not line.startswith("(raised as a result of")]
    return lines[0] if lines else type(error).__name__


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _make(path: Path) -> None:
    # Both take a second to import, and are needed once.
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.exc import SQLAlchemyError

    hush()
    with staged_directory(path.parent) as staged:
        made = staged / path.name
        try:
            SqlAlchemyStore(f"{_SQLITE}{made}", _ARTIFACTS).engine.dispose()
        except SQLAlchemyError as error:
            raise UnavailableError(
                f"The database {path} can't be made: {reason(error)}.",
                fix="Check that the disk is not full, then run it again; nothing is half-written.",
            ) from error
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(path)
