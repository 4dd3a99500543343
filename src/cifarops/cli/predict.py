"""`cifarops predict`: ask a server about a few image files, or score many without one."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, facts, progress_bars, table
from cifarops.errors import UsageError
from cifarops.settings import EnvironmentName, Settings


def command(
    images: Annotated[
        list[Path],
        typer.Argument(
            help="Image files, or folders of them; with --out one folder, tar, zip or Parquet file.",
            show_default=False,
        ),
    ],
    environment: Annotated[
        EnvironmentName, typer.Option(help="Whose server or model answers.")
    ] = "production",
    url: Annotated[str | None, typer.Option(help="Ask the server at this address instead.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Score without a server: rows go to this .csv, .jsonl or .parquet file."),
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="With --out: the version that answers.")] = None,
    bundle: Annotated[
        str | None, typer.Option(help="With --out: the bundle that answers, by its digest or a beginning.")
    ] = None,
    json_: JsonFlag = False,
) -> None:
    """Classify images: a few with a running server, or with --out any number without one.

    Exits 1 when the server refused an image. Scoring to a file counts what can't be read; cut short, the same command goes on.
    """
    if out is None:
        if version is not None or bundle is not None:
            raise UsageError(
                "A server answers with its own version.", fix="Name a file for the answers: --out FILE."
            )
        _ask_server(images, environment, url, as_json=json_)
    elif len(images) != 1 or url is not None:
        raise UsageError(
            "With --out one folder or archive is scored, without a server.",
            fix="Name one folder or archive, and no --url.",
        )
    else:
        _score(images[0], out, environment, version, bundle, as_json=json_)


def _ask_server(files: list[Path], environment: EnvironmentName, url: str | None, *, as_json: bool) -> None:
    from cifarops.deployment.environment import find_server
    from cifarops.serving.batch import predict_files
    from cifarops.serving.client import Client

    settings = Settings.from_environment()
    client = Client(url or find_server(environment, ledger=settings.ledger), token=settings.token)
    answers = predict_files(client, files)
    emit(
        [asdict(answer) for answer in answers],
        as_json=as_json,
        human=table(
            f"Answers of {client.url}",
            ("file", "label", "confidence", "version", "prediction id"),
            [answer.row() for answer in answers],
        ),
    )
    if any(answer.error for answer in answers):
        raise typer.Exit(1)


def _score(
    origin: Path,
    out: Path,
    environment: EnvironmentName,
    version: int | None,
    digest: str | None,
    *,
    as_json: bool,
) -> None:
    from cifarops.scoring.model import choose_model
    from cifarops.scoring.score import score

    bundle = choose_model(Settings.from_environment(), environment, version=version, digest=digest)
    with progress_bars() as progress:
        scored = score(origin, out, bundle, progress=progress)
    emit(asdict(scored), as_json=as_json, human=facts(f"Scored {origin}", asdict(scored)))
