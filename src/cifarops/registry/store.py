"""The few calls to MLflow's registry that are made, quietly, with failures explained."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from cifarops.errors import IntegrityError
from cifarops.mlflow_store import hush, prepare_store, reason

_PAGE = 1000


@dataclass(frozen=True)
class ModelVersion:
    """A version as MLflow keeps it; `created` in seconds since the epoch."""

    number: int
    run_id: str | None
    tags: dict[str, str]
    created: float


class RegistryStore:
    """One registered model in an MLflow store.

    Args:
        uri: `sqlite:///…` or a server's address.
        model: Name of the registered model.
    """

    def __init__(self, uri: str, model: str) -> None:
        self._uri = uri
        self._model = model
        hush()
        prepare_store(uri, fix=_remedy(uri))
        with self._explained():
            self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def create(self, *, source: str, run_id: str | None, tags: dict[str, str], description: str) -> int:
        """Add a version and return its number."""
        with self._explained():
            if not self._exists():
                try:
                    self._client.create_registered_model(self._model)
                except MlflowException as error:  # another process was first
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
            made = self._client.create_model_version(
                self._model, source, run_id=run_id, tags=tags, description=description
            )
            return int(made.version)

    def versions(self) -> list[ModelVersion]:
        """Return every version, the first first."""
        with self._explained():
            found: list[ModelVersion] = []
            token = None
            while True:
                page = self._client.search_model_versions(
                    f"name = '{self._model}'", max_results=_PAGE, page_token=token
                )
                found += [
                    ModelVersion(
                        int(each.version),
                        each.run_id or None,
                        dict(each.tags),
                        each.creation_timestamp / 1000,
                    )
                    for each in page
                ]
                token = page.token
                if not token:
                    return sorted(found, key=lambda version: version.number)

    def aliases(self) -> dict[str, int]:
        """Return the version number that each alias points at."""
        with self._explained():
            if not self._exists():
                return {}
            aliases = self._client.get_registered_model(self._model).aliases
            return {alias: int(number) for alias, number in aliases.items()}

    def set_alias(self, alias: str, number: int) -> None:
        """Let an alias point at a version."""
        with self._explained():
            self._client.set_registered_model_alias(self._model, alias, str(number))

    def delete_alias(self, alias: str) -> None:
        """Let an alias point at nothing."""
        with self._explained():
            self._client.delete_registered_model_alias(self._model, alias)

    def _exists(self) -> bool:
        return bool(self._client.search_registered_models(f"name = '{self._model}'", max_results=1))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, SQLAlchemyError) as error:
            raise IntegrityError(
                f"The registry {self._uri} can't be used: {reason(error)}.",
                fix=f"Check that {self._uri} can be reached and written and that the disk is not full, then run it again.",
            ) from error


def _remedy(uri: str) -> str:
    return (
        f"Restore a copy of {uri}, or move it away and register again: bundles, verdicts and the ledger are"
        " untouched."
    )
