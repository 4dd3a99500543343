"""`cifarops serve`: answer requests over HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from cifarops.settings import EnvironmentName, Settings


def command(
    environment: Annotated[EnvironmentName, typer.Option(help="Whose version answers.")] = "production",
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need --announce.")
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
    from cifarops.bundle.signature import Signatures
    from cifarops.serving.server import TakeOver, serve

    settings = Settings.from_environment()
    serve(
        environment,
        host=host,
        port=port,
        ledger=settings.ledger,
        bundles=settings.bundles,
        signatures=Signatures.of(settings),
        run=settings.run,
        keep_images=keep_images,
        announce=announce,
        stop_with_stdin=stop_with_stdin,
        take_over=TakeOver(take_over, standby) if take_over else None,
    )
