"""`cifarops deploy build | pin | release | start | stop`: model and code together, and the servers that run them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, facts, notes, pointed, write_pointer
from cifarops.settings import EnvironmentName, Settings

if TYPE_CHECKING:
    from cifarops.deployment.change import Deployed

Environment = Annotated[EnvironmentName, typer.Option(help="Which environment.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
Watch = Annotated[
    float,
    typer.Option(min=0, help="Seconds that new servers are watched; unhealthy ones give way to the old."),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="Where a server is started if none runs; by default where one ran last."
    ),
]
WATCH = 10.0


def build(
    source: Annotated[Path, typer.Option(help="Git checkout without changes.")] = Path(),
    image: Annotated[
        str | None, typer.Option(help="Image built from the same commit: REFERENCE@sha256:DIGEST.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Build the code release of a commit: one wheel, the same bytes for the same commit, without network."""
    from cifarops.deployment.code import build_code, parse_image

    release = build_code(
        source.absolute(),
        releases=Settings.from_environment().releases,
        image=parse_image(image) if image else None,
    )
    document = {"code": release.sha256, **release.record.model_dump(mode="json"), "path": str(release.path)}
    emit(
        document,
        as_json=as_json,
        human=facts(
            "Code release",
            {
                "sha256": release.sha256,
                "commit": release.commit,
                "wheel": release.path / release.record.wheel,
            },
        ),
    )


def pin(
    version: Annotated[str, typer.Option(help="Version of the release, for example 1.2.0.")],
    commit: Annotated[str, typer.Option(help="Commit whose model and code are released.")],
    bundle: Annotated[
        str | None,
        typer.Option(help="Digest of the model, or a JSON file that names it; by default the commit's own."),
    ] = None,
    code: Annotated[
        str | None,
        typer.Option(help="SHA-256 of the code, or a JSON file that names it; by default the commit's own."),
    ] = None,
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("release.json"),
    as_json: JsonFlag = False,
) -> None:
    """Write release.json: the model that passed the gate and the code that was built, both from one commit."""
    from cifarops.deployment.release import pin as find
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    release = find(
        version,
        commit,
        registry=Registry.of(settings),
        releases=settings.releases,
        pins=settings.pins,
        actor=settings.actor,
        bundle=pointed(bundle, "bundle"),
        code=pointed(code, "code"),
    )
    document = release.model_dump(mode="json")
    write_pointer(out, document)
    emit(document, as_json=as_json, human=facts(f"Release {version}, in {out}", document))


def release(
    file: Annotated[Path, typer.Argument(help="release.json, by cifarops deploy pin.")],
    environment: Annotated[EnvironmentName, typer.Option(help="Which environment.")],
    watch: Watch = WATCH,
    port: Port = None,
    reason: Annotated[str, typer.Option(help="Why; by default the release's version.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Let an environment run a release, model and code together, without one failed request."""
    from cifarops.deployment.deploy import deploy_release
    from cifarops.deployment.release import load_release
    from cifarops.ledger.store import Ledger
    from cifarops.registry.versions import Registry

    settings, wanted = Settings.from_environment(), load_release(file)
    with Ledger(settings.ledger) as ledger:
        deployed = deploy_release(
            wanted,
            environment,
            ledger=ledger,
            registry=Registry.of(settings),
            settings=settings,
            reason=reason or f"release {wanted.version}",
            watch_s=watch,
            port=port,
        )
    show(deployed, as_json)


def start(
    environment: Environment = "production",
    port: Port = None,
    reason: Reason = "by hand",
    as_json: JsonFlag = False,
) -> None:
    """Let servers run what the environment's record says: start one, or replace what runs other code."""
    from cifarops.deployment.deploy import start as begin
    from cifarops.ledger.store import Ledger

    settings = Settings.from_environment()
    with Ledger(settings.ledger) as ledger:
        deployed = begin(environment, ledger=ledger, settings=settings, reason=reason, port=port)
    show(deployed, as_json)


def stop(
    environment: Environment = "production", reason: Reason = "by hand", as_json: JsonFlag = False
) -> None:
    """Stop an environment's servers; requests in flight are finished first."""
    from cifarops.deployment.deploy import stop as finish
    from cifarops.ledger.store import Ledger

    settings = Settings.from_environment()
    with Ledger(settings.ledger) as ledger:
        stopped = finish(environment, ledger=ledger, settings=settings, reason=reason)
    emit(
        {"stopped": stopped},
        as_json=as_json,
        human=f"Stopped: {', '.join(stopped) or 'nothing, no server was running'}.",
    )


def show(deployed: "Deployed", as_json: bool) -> None:
    """Print what an environment runs after a change."""
    if deployed.warning:
        notes.print(f"warning: {deployed.warning}", style="yellow", markup=False)
    state, health = deployed.state, deployed.health
    watched = (
        f"{health.requests} requests, {health.errors} errors in {health.seconds:g} s" if health else None
    )
    emit(
        asdict(deployed),
        as_json=as_json,
        human=facts(
            state.name,
            {
                "runs version": state.version,
                "code": state.code,
                "previous code": state.previous_code,
                "answered by": ", ".join(deployed.servers),
                "watched": watched,
            },
        ),
    )
