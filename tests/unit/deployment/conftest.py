"""A workspace with a registry; MLflow's file is migrated once and copied, because that alone takes seconds."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry
from tests.support.serving import settings_of


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("registry") / "mlflow.db"
    Registry.of(settings_of(path.parent))
    return path


@pytest.fixture
def registry(tmp_path: Path, empty_registry: Path) -> Registry:
    shutil.copy(empty_registry, tmp_path / "mlflow.db")
    return Registry.of(settings_of(tmp_path))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened
