"""`cifarops predict`: ask a server about image files."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, table
from cifarops.settings import EnvironmentName, Settings


def command(
    files: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.", show_default=False)],
    environment: Annotated[EnvironmentName, typer.Option(help="Whose server is asked.")] = "production",
    url: Annotated[str | None, typer.Option(help="Ask the server at this address instead.")] = None,
    json_: JsonFlag = False,
) -> None:
    """Classify image files with a running server; exits 1 when any of them was refused."""
    from cifarops.deployment.environment import find_server
    from cifarops.serving.batch import predict_files
    from cifarops.serving.client import Client

    client = Client(url or find_server(environment, ledger=Settings.from_environment().ledger))
    answers = predict_files(client, files)
    emit(
        [asdict(answer) for answer in answers],
        as_json=json_,
        human=table(
            f"Answers of {client.url}",
            ("file", "label", "confidence", "version", "prediction id"),
            [answer.row() for answer in answers],
        ),
    )
    if any(answer.error for answer in answers):
        raise typer.Exit(1)
