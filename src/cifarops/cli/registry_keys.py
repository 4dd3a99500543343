"""`cifarops registry keys`: what bundles are signed with, and what servers trust."""

from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, group, table
from cifarops.settings import ENVIRONMENTS, EnvironmentName, Settings

app = group("Keys: what bundles are signed with, and what servers trust.")
Of = Annotated[EnvironmentName, typer.Option("--environment", help="Whose key.")]


@app.command("list")
def list_keys(as_json: JsonFlag = False) -> None:
    """List the keys that each environment trusts, and which of them signs here."""
    from cifarops.bundle.keys import Keyring

    keys = Keyring.of(Settings.from_environment())
    rows = [
        (name, key, keys.signs_with(name) == key, path)
        for name in ENVIRONMENTS
        for key, path in keys.public(name).items()
    ]
    names = ("environment", "key", "signs", "file")
    emit(
        [dict(zip(names, map(str, row), strict=True)) | {"signs": row[2]} for row in rows],
        as_json=as_json,
        human=table(
            "Trusted keys",
            ("environment", "key", "signs here", "public key"),
            [(name, key, "yes" if signs else "no", path) for name, key, signs, path in rows],
        ),
    )


@app.command()
def rotate(environment: Of, as_json: JsonFlag = False) -> None:
    """Make a new private key for an environment; what the old one signed stays good."""
    from cifarops.bundle.keys import Keyring, key_id

    key = key_id(Keyring.of(Settings.from_environment()).rotate(environment).public_key())
    emit(
        {"environment": environment, "key": key},
        as_json=as_json,
        human=f"{environment} is signed with {key} from now on. Keep a copy of its file elsewhere.",
    )


@app.command()
def trust(
    environment: Of,
    file: Annotated[
        Path | None, typer.Argument(help="Public key, PEM; by default that of CIFAROPS_SIGNING_KEY.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Let servers of an environment trust a public key."""
    from cifarops.bundle.keys import Keyring

    key = Keyring.of(Settings.from_environment()).trust(environment, file)
    emit({"environment": environment, "key": key}, as_json=as_json, human=f"{environment} trusts {key} now.")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Id of the key: cifarops registry keys list")],
    environment: Of,
    as_json: JsonFlag = False,
) -> None:
    """Trust a key no longer: what only it has signed is refused from now on, also by servers that start again."""
    from cifarops.bundle.keys import Keyring

    Keyring.of(Settings.from_environment()).revoke(environment, key)
    emit(
        {"environment": environment, "key": key},
        as_json=as_json,
        human=f"{environment} trusts {key} no longer. Sign what runs there anew: cifarops registry sign VERSION"
        f" --environment {environment}",
    )
