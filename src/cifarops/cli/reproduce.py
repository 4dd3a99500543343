"""`cifarops reproduce`: make a version again and compare."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, notes
from cifarops.settings import Settings


def command(
    number: Annotated[int, typer.Argument(metavar="VERSION", help="Version number: cifarops registry list")],
    origin: Annotated[
        str | None,
        typer.Option("--from", help="Where the images are now, if the snapshot is gone; as for data ingest."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a version again from its commit, data and parameters, and compare digests; exits 1 where they differ."""
    from cifarops.flow.git import Git
    from cifarops.flow.reproduce import reproduce
    from cifarops.ledger.records import Decision
    from cifarops.ledger.store import Ledger
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    found = reproduce(
        Registry.of(settings).bundle(number),
        Git.find(Path.cwd()),
        settings=settings,
        origin=origin,
        announce=lambda what: notes.print(what, highlight=False, markup=False),
    )
    with Ledger(settings.ledger) as ledger:
        ledger.record(Decision("reproduce", None, number, settings.actor, found.told(), asdict(found)))
    emit({"version": number, **asdict(found)}, as_json=as_json, human=found.told())
    if found.outcome == "different":
        raise typer.Exit(1)
