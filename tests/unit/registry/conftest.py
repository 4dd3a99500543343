"""A migrated MLflow file is made once and copied: the migrations alone take seconds."""

import shutil
from pathlib import Path

import pytest

from cifarops.registry.versions import Registry


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Registry(f"sqlite:///{path}", path.parent)
    return path


@pytest.fixture
def tracking_uri(tmp_path: Path, migrated: Path) -> str:
    shutil.copy(migrated, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def registry(tmp_path: Path, tracking_uri: str) -> Registry:
    return Registry(tracking_uri, tmp_path / "bundles")
