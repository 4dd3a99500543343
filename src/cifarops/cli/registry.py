"""`cifarops registry`: the versions that passed the gate."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli import registry_keys
from cifarops.cli.common import (
    JsonFlag,
    emit,
    facts,
    group,
    notes,
    pointed,
    progress_bars,
    table,
    write_pointer,
)
from cifarops.settings import EnvironmentName, Settings

app = group("Versions: bundles that passed the gate; their history, signatures and keys.")
app.add_typer(registry_keys.app, name="keys")


@app.command("list")
def list_versions(as_json: JsonFlag = False) -> None:
    """List every version with its verdict and the environments that run it."""
    from cifarops.deployment.aliases import sync
    from cifarops.ledger.store import Ledger
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    registry = Registry.of(settings)
    with Ledger(
        settings.ledger
    ) as ledger:  # a promotion that was killed leaves its alias to whoever looks next
        warning = sync(registry, ledger)
    if warning:
        notes.print(f"warning: {warning}", style="yellow", markup=False)
    versions = registry.versions()
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


@app.command()
def sign(
    number: Annotated[int, typer.Argument(metavar="VERSION", help="Version number.")],
    environment: Annotated[EnvironmentName, typer.Option(help="Which environment may run it.")],
    as_json: JsonFlag = False,
) -> None:
    """Sign a version for an environment again, after its key was revoked or a signature lost. Promotions sign by themselves."""
    from cifarops.ledger.store import Ledger
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    registry = Registry.of(settings)
    version = registry.version(number)
    registry.bundle(version)
    with Ledger(settings.ledger) as ledger:
        signature = registry.sign(version, environment, ledger)
    emit(
        signature.model_dump(mode="json"),
        as_json=as_json,
        human=f"Version {number} is signed for {environment} with {signature.key}.",
    )


@app.command()
def verify(
    head: Annotated[
        list[str] | None,
        typer.Option(
            help="NUMBER:HASH that an earlier verification printed and that was kept elsewhere; repeatable."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check the decision history, every version's bundle and the signatures of what runs; exits 1 where one is not right."""
    from cifarops.bundle.signature import Signatures
    from cifarops.ledger.chain import Head
    from cifarops.ledger.store import Ledger
    from cifarops.registry.verify import verify as look
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    heads = [Head.parse(text) for text in head or ()]
    with Ledger(settings.ledger) as ledger, progress_bars() as progress:
        found = look(
            ledger,
            Registry.of(settings).versions(),
            bundles=settings.bundles,
            signatures=Signatures.of(settings),
            heads=heads,
            progress=progress,
        )
    rows = [(each.where, each.what, each.fix) for each in found.problems]
    right = f"{found.decisions} decisions and {found.versions} versions are as they were written. Head: {found.head}"
    emit(
        asdict(found),
        as_json=as_json,
        human=table("Not as it was written", ("where", "what", "do"), rows) if rows else right,
    )
    if rows:
        raise typer.Exit(1)


@app.command("accept-breaks")
def accept_breaks(
    reason: Annotated[str, typer.Option(help="What happened; kept in the history.")],
    as_json: JsonFlag = False,
) -> None:
    """Go on from a history that was changed: every break in it goes on record, with your name and reason."""
    from cifarops.bundle.signature import Signatures
    from cifarops.ledger.store import Ledger
    from cifarops.registry.verify import signed_heads
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    versions = Registry.of(settings).versions()
    with Ledger(settings.ledger) as ledger:
        heads = signed_heads(ledger, versions, Signatures.of(settings))
        found = ledger.accept_breaks(settings.actor, reason, *heads)
    emit(
        [asdict(each) for each in found],
        as_json=as_json,
        human="\n".join(each.what for each in found)
        or "The history is as it was written; nothing to accept.",
    )


@app.command()
def audit(
    number: Annotated[int, typer.Argument(metavar="VERSION", help="Version number.")],
    advisories: Annotated[
        Path | None,
        typer.Option(
            help="Directory or zip of OSV advisories (osv.dev's export for PyPI); nothing is fetched."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the licences and known vulnerabilities of what made a version; exits 1 where an advisory is about it."""
    from cifarops.registry.audit import UNKNOWN
    from cifarops.registry.audit import audit as look_up
    from cifarops.registry.versions import Registry

    found = look_up(Registry.of(Settings.from_environment()).bundle(number), advisories)
    rows = [
        (
            each.name,
            each.version,
            each.licence,
            UNKNOWN if each.vulnerabilities is None else ", ".join(each.vulnerabilities) or "none known",
        )
        for each in found.packages
    ]
    emit(
        asdict(found),
        as_json=as_json,
        human=table(
            f"Packages of version {number}", ("package", "version", "licence", "vulnerabilities"), rows
        ),
    )
    if found.advisories is None:
        notes.print("Vulnerabilities: unknown, no advisories were given: --advisories PATH", highlight=False)
    else:
        notes.print(f"{found.advisories:,} advisories, the newest of {found.newest}.", highlight=False)
    if found.vulnerable:
        raise typer.Exit(1)
