from pathlib import Path

from cifarops.settings import Settings


def test_the_default_workspace_lies_in_the_current_directory() -> None:
    settings = Settings.from_environment({})
    assert settings.workspace == Path("workspace").absolute()
    assert settings.tracking_uri == f"sqlite:///{settings.workspace / 'mlflow.db'}"


def test_everything_lies_in_the_workspace(tmp_path: Path) -> None:
    settings = Settings.from_environment({"CIFAROPS_WORKSPACE": str(tmp_path)})
    paths = (settings.snapshots, settings.runs, settings.bundles, settings.verdicts, settings.cache)
    assert all(path.parent == tmp_path for path in (*paths, settings.downloads, settings.ledger))


def test_addresses_and_the_actor_can_be_named() -> None:
    settings = Settings.from_environment(
        {
            "CIFAROPS_TRACKING_URI": "https://mlflow.example",
            "CIFAROPS_CIFAR10_URL": "https://mirror.example/",
            "CIFAROPS_ACTOR": "ada",
            "USER": "root",
        }
    )
    assert settings.tracking_uri == "https://mlflow.example"
    assert settings.cifar10_url == "https://mirror.example/"
    assert settings.actor == "ada"


def test_keys_lie_in_the_workspace_or_where_the_machine_says(tmp_path: Path) -> None:
    own = Settings.from_environment({"CIFAROPS_WORKSPACE": str(tmp_path)})
    assert (own.keys, own.trusted_keys, own.signing_key) == (
        tmp_path / "keys",
        tmp_path / "keys/trusted",
        None,
    )
    given = Settings.from_environment({"CIFAROPS_TRUSTED_KEYS": "keys", "CIFAROPS_SIGNING_KEY": "a secret"})
    assert given.trusted_keys == Path("keys").absolute()
    assert given.signing_key == "a secret"
    assert "a secret" not in repr(given)
