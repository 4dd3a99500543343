"""`cifarops serve`: answer requests over HTTP; `cifarops serve token`: who may ask."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cifarops.cli.common import JsonFlag, emit, group, notes, table
from cifarops.settings import EnvironmentName, Settings

app = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False)
_tokens = group(
    "Tokens: who may predict, give feedback and deploy. With the first one, servers begin to ask for them."
)
app.add_typer(_tokens, name="token")


@app.callback()
def command(
    context: typer.Context,
    environment: Annotated[EnvironmentName, typer.Option(help="Whose version answers.")] = "production",
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need a token or --announce.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 8080,
    keep_images: Annotated[
        bool, typer.Option("--keep-images", help="Keep the images too, so that retraining can use them.")
    ] = False,
    announce: Annotated[
        str | None,
        typer.Option(
            help="URL at which deployments reach this server, when it runs in a container or a pod."
        ),
    ] = None,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", hidden=True, help="Stop when standard input closes.")
    ] = False,
    take_over: Annotated[
        Path | None, typer.Option(hidden=True, help="Replace the server with this control socket.")
    ] = None,
    standby: Annotated[
        float, typer.Option(min=0, hidden=True, help="Seconds that the replaced server stands by.")
    ] = 0,
) -> None:
    """Serve an environment over HTTP until Ctrl-C. Promotions take effect without a restart."""
    if context.invoked_subcommand is not None:
        return
    from cifarops.bundle.signature import Signatures
    from cifarops.ledger.database import require_undamaged
    from cifarops.serving.options import read_options
    from cifarops.serving.server import TakeOver, serve
    from cifarops.serving.tokens import TokenFile

    settings = Settings.from_environment()
    require_undamaged(settings.ledger)  # it says what the environment runs
    serve(
        environment,
        host=host,
        port=port,
        ledger=settings.ledger,
        bundles=settings.bundles,
        signatures=Signatures.of(settings),
        run=settings.run,
        keep_images=keep_images,
        options=read_options(settings.serving),
        tokens=TokenFile(settings.tokens),
        announce=announce,
        stop_with_stdin=stop_with_stdin,
        take_over=TakeOver(take_over, standby) if take_over else None,
    )


@_tokens.command("make")
def make(
    name: Annotated[str, typer.Argument(help="Whose token it is; stands in the servers' logs.")],
    role: Annotated[
        list[str],
        typer.Option(help="What it allows: predict, feedback or deploy; may be given more than once."),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Make a token and print it. It is shown only now: the workspace keeps its hash."""
    from cifarops.serving.tokens import TokenFile

    file = TokenFile(Settings.from_environment().tokens)
    first = not file.tokens()
    text = file.make(name, role)
    if first:
        notes.print("Servers of this workspace ask for a token from now on.")
    emit({"name": name, "roles": role, "token": text}, as_json=as_json, human=text)


@_tokens.command("list")
def show(as_json: JsonFlag = False) -> None:
    """List the tokens by name; their texts are known to nobody but their owners."""
    from datetime import UTC, datetime

    from cifarops.serving.tokens import TokenFile

    tokens = TokenFile(Settings.from_environment().tokens).tokens()
    found: list[dict[str, Any]] = [
        {
            "name": token.name,
            "roles": list(token.roles),
            "since": datetime.fromtimestamp(token.since, UTC).isoformat(timespec="seconds"),
        }
        for token in tokens
    ]
    rows = [(each["name"], ", ".join(each["roles"]), each["since"]) for each in found]
    emit(found, as_json=as_json, human=table("tokens", ("name", "roles", "since"), rows))


@_tokens.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Whose token.")],
    as_json: JsonFlag = False,
) -> None:
    """Make a token worthless; servers know within a fifth of a second."""
    from cifarops.serving.tokens import TokenFile

    TokenFile(Settings.from_environment().tokens).revoke(name)
    emit({"revoked": name}, as_json=as_json, human=f"{name} is revoked.")
