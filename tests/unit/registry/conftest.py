"""A migrated MLflow file is made once and copied: the migrations alone take seconds."""

import shutil
from pathlib import Path

import pytest

from cifarops.registry.versions import Registry
from cifarops.settings import Settings
from tests.support.serving import settings_of


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Registry.of(settings_of(path.parent))
    return path


@pytest.fixture
def workspace(tmp_path: Path, migrated: Path) -> Settings:
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return settings_of(tmp_path)


@pytest.fixture
def registry(workspace: Settings) -> Registry:
    return Registry.of(workspace)
