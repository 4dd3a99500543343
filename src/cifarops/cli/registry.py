"""`cifarops registry`: the versions that passed the gate."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, facts, group, notes, pointed, table, write_pointer
from cifarops.settings import Settings

app = group("Versions: bundles that passed the gate.")


@app.command("list")
def list_versions(as_json: JsonFlag = False) -> None:
    """List every version with its verdict and the environments that run it."""
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    versions = Registry.of(settings).versions()
    emit(
        [asdict(version) for version in versions],
        as_json=as_json,
        human=table(
            "Versions",
            ("version", "bundle", "verdict", "aliases", "created", "run"),
            [version.row() for version in versions],
        ),
    )


@app.command()
def show(
    number: Annotated[int, typer.Argument(metavar="VERSION", help="Version number.")],
    as_json: JsonFlag = False,
) -> None:
    """Show a version: where it came from, and the evidence with which it was registered."""
    from rich.console import Group

    from cifarops.cli.evidence import verdict_tables
    from cifarops.registry.lineage import lineage
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    registry = Registry.of(settings)
    version, verdict = registry.version(number), registry.verdict(number)
    origin = lineage(registry.bundle(version), version)
    emit(
        {**asdict(version), "lineage": origin, "evidence": verdict.model_dump(mode="json")},
        as_json=as_json,
        human=Group(facts(f"Version {number}", origin), verdict_tables(verdict)),
    )


@app.command()
def register(
    bundle: Annotated[
        str | None,
        typer.Argument(
            metavar="[BUNDLE]", help="Digest, a beginning of one, or a pointer file; by default the newest."
        ),
    ] = None,
    verdict: Annotated[
        Path | None, typer.Option(help="Verdict file; by default the newest on this bundle.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write a pointer to the version as a small JSON file.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a bundle a version. Refused unless the gate's verdict on it is promote."""
    from cifarops.bundle.store import choose_bundle
    from cifarops.evaluation.verdicts import read_verdict
    from cifarops.ledger.store import Ledger
    from cifarops.registry.registration import register as register_bundle
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    with Ledger(settings.ledger) as ledger:
        version = register_bundle(
            choose_bundle(settings.bundles, pointed(bundle, "bundle")),
            registry=Registry.of(settings),
            ledger=ledger,
            runs=settings.runs,
            verdicts=settings.verdicts,
            actor=settings.actor,
            verdict=read_verdict(verdict) if verdict else None,
        )
    document = {
        "version": version.number,
        "bundle": version.digest,
        "run": version.run_id,
        "aliases": version.aliases,
    }
    write_pointer(out, document)
    emit(document, as_json=as_json, human=facts(f"Version {version.number}", document))
    notes.print(f"next: cifarops deploy promote {version.number} --to staging", highlight=False)
