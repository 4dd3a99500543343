"""What MLflow is told about a training: parameters, a point of each curve an epoch, identities and files."""

import logging
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from cifarops.errors import UnavailableError
from cifarops.files import check_database

EXPERIMENT = "cifarops"


class Tracker:
    """One experiment in an MLflow store.

    Args:
        uri: The store: `sqlite:///…` or a server's address.
        runs: Directory of runs; a local store keeps its artifacts in each run's directory there.

    Raises:
        UnavailableError: The store can't be opened.
        IntegrityError: Its file is damaged.
    """

    def __init__(self, uri: str, *, runs: Path) -> None:
        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        try:
            _prepare(uri)
            self._client = MlflowClient(tracking_uri=uri)
            self._experiment = self._find_or_create(
                None if uri.startswith("http") else runs.absolute().as_uri()
            )
        except (MlflowException, OSError) as error:
            raise UnavailableError(
                f"The tracking store {uri} can't be opened: {error}.",
                fix="Correct CIFAROPS_TRACKING_URI, or move the damaged file away.",
            ) from error

    def start(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Open a run and return its id, 32 hex digits."""
        run = self._client.create_run(self._experiment, run_name=tags.get("profile"))
        flat = [Param(key, str(value)) for key, value in _flatten(parameters)]
        self._client.log_batch(
            run.info.run_id, params=flat, tags=[RunTag(key, value) for key, value in tags.items()]
        )
        self._client.log_text(run.info.run_id, environment_lock(), "environment.txt")
        return str(run.info.run_id)

    def log(self, run_id: str, metrics: Mapping[str, float], *, epoch: int) -> None:
        """Add one point to each curve."""
        now = int(time.time() * 1000)
        self._client.log_batch(
            run_id, metrics=[Metric(key, value, now, epoch) for key, value in metrics.items()]
        )

    def attach(self, run_id: str, path: Path) -> None:
        """Add a file to the run."""
        self._client.log_artifact(run_id, str(path))

    def end(self, run_id: str, status: str) -> None:
        """Close a run as `FINISHED`, `FAILED` or `KILLED`."""
        self._client.set_terminated(run_id, status=status)

    def _find_or_create(self, artifacts: str | None) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            try:
                return str(self._client.create_experiment(EXPERIMENT, artifact_location=artifacts))
            except MlflowException:  # another process was first
                found = self._client.get_experiment_by_name(EXPERIMENT)
                if found is None:
                    raise
        return str(found.experiment_id)


def environment_lock() -> str:
    """Return every installed distribution as `name==version`, one a line, sorted."""
    return (
        "\n".join(sorted({f"{found.name}=={found.version}" for found in distributions()}, key=str.lower))
        + "\n"
    )


def _prepare(uri: str) -> None:
    """Make a local store's directory, and refuse a damaged file at once: MLflow would try it for minutes."""
    if uri.startswith("sqlite:///"):
        path = Path(uri.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        check_database(
            path,
            fix="Restore a copy, or move the file away: a new one is made; runs and bundles are untouched.",
        )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
