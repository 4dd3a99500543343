"""`cifarops package`: from a run to a bundle."""

from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, facts, notes, pointed, progress_bars, write_pointer
from cifarops.settings import Settings


def command(
    run: Annotated[
        str | None,
        typer.Argument(help="Run id, a beginning of one, or a pointer file; by default the newest."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write a pointer to the bundle as a small JSON file.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Package a run: ONNX files in float32 and int8, proof that they answer as the network does, calibration, card."""
    from cifarops.data.snapshot import open_snapshot
    from cifarops.packaging.export import package
    from cifarops.packaging.speed import read_speed
    from cifarops.training.run import newest_run, open_run

    settings = Settings.from_environment()
    named = pointed(run, "run")
    chosen = open_run(settings.runs, named) if named else newest_run(settings.runs)
    notes.print(f"Run {chosen.id}: profile {chosen.profile}.", highlight=False)
    with progress_bars() as progress:
        bundle = package(
            chosen,
            open_snapshot(settings.snapshots, chosen.snapshot),
            bundles=settings.bundles,
            progress=progress,
        )
    document = {
        "bundle": bundle.digest,
        "run": chosen.id,
        "snapshot": chosen.snapshot,
        "synthetic": bundle.manifest.synthetic,
        "temperature": bundle.manifest.temperature,
        **bundle.manifest.metrics,
        "serves": bundle.manifest.serving.precision,
        "because": bundle.manifest.serving.reason,
    }
    if speed := read_speed(chosen.path):
        document |= {"float32_ms": speed.float32_ms, "int8_ms": speed.int8_ms}
    write_pointer(out, document)
    emit(document, as_json=as_json, human=facts(f"Bundle {bundle.digest[:12]}, measured on valid", document))
