"""What MLflow is told about a training: parameters, a point of each curve an epoch, identities and files."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from cifarops.errors import UnavailableError
from cifarops.mlflow_store import hush, prepare_store, reason

EXPERIMENT = "cifarops"


@dataclass(frozen=True)
class TrackedRun:
    """A training that ended, as the store tells it.

    Attributes:
        id: MLflow run id.
        profile: Parameter profile, or `experiment/NAME`.
        snapshot: Id of the snapshot.
        synthetic: Whether that was drawn by the program.
        commit: Code that trained it, or None.
        valid_accuracy: Share of `valid` that the float32 network gets right, in [0, 1].
        valid_images: Images in `valid`.
        seconds: Training time, without evaluation.
    """

    id: str
    profile: str
    snapshot: str
    synthetic: bool
    commit: str | None
    valid_accuracy: float
    valid_images: int
    seconds: float


class Tracker:
    """One experiment in an MLflow store.

    Args:
        uri: The store: `sqlite:///…` or a server's address.
        runs: Directory of runs; a local store keeps its artifacts in each run's directory there.

    Raises:
        UnavailableError: The store does not answer, here or later.
        IntegrityError: Its file is damaged.
    """

    def __init__(self, uri: str, *, runs: Path) -> None:
        hush()
        self._uri = uri
        prepare_store(
            uri,
            fix="Restore a copy, or move the file away: a new one is made; runs and bundles are untouched.",
        )
        with self._explained():
            self._client = MlflowClient(tracking_uri=uri)
            self._experiment = self._find_or_create(
                None if uri.startswith("http") else runs.absolute().as_uri()
            )

    def start(self, parameters: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Open a run and return its id, 32 hex digits."""
        with self._explained():
            run_id = str(self._client.create_run(self._experiment, run_name=tags.get("profile")).info.run_id)
            self._client.log_batch(
                run_id,
                params=[Param(key, str(value)) for key, value in _flatten(parameters)],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
            self._client.log_text(run_id, environment_lock(), "environment.txt")
            return run_id

    def log(self, run_id: str, metrics: Mapping[str, float], *, epoch: int) -> None:
        """Add one point to each curve."""
        now = int(time.time() * 1000)
        points = [Metric(key, value, now, epoch) for key, value in metrics.items()]
        with self._explained():
            self._client.log_batch(run_id, metrics=points)

    def attach(self, run_id: str, path: Path) -> None:
        """Add a file to the run."""
        with self._explained():
            self._client.log_artifact(run_id, str(path))

    def end(self, run_id: str, status: str) -> None:
        """Close a run as `FINISHED`, `FAILED` or `KILLED`."""
        with self._explained():
            self._client.set_terminated(run_id, status=status)

    def finished(self) -> list[TrackedRun]:
        """Return the trainings that ended, the oldest first; those that did not count their `valid` are left out."""
        found: list[TrackedRun] = []
        token = None
        while True:
            with self._explained():
                page = self._client.search_runs(
                    [self._experiment],
                    filter_string="attributes.status = 'FINISHED' and metrics.valid_images > 0",
                    order_by=["attributes.end_time ASC"],
                    page_token=token,
                )
            found += [_tracked(run.info.run_id, run.data.tags, run.data.metrics) for run in page]
            token = page.token
            if not token:
                return found

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

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, SQLAlchemyError) as error:
            raise UnavailableError(
                f"The tracking store {self._uri} can't be used: {reason(error)}.",
                fix="Check that it can be reached and its disk is not full; a training that had begun can be resumed.",
            ) from error


def _tracked(run_id: str, tags: Mapping[str, str], metrics: Mapping[str, float]) -> TrackedRun:
    commit = tags["code.commit"]
    return TrackedRun(
        id=run_id,
        profile=tags["profile"],
        snapshot=tags["snapshot"],
        synthetic=tags["synthetic"] == "True",
        commit=None if commit == "none" else commit,
        valid_accuracy=metrics["final_valid_accuracy"],
        valid_images=int(metrics["valid_images"]),
        seconds=metrics["training_seconds"],
    )


def environment_lock() -> str:
    """Return every installed distribution as `name==version`, one a line, sorted."""
    return (
        "\n".join(sorted({f"{found.name}=={found.version}" for found in distributions()}, key=str.lower))
        + "\n"
    )


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
