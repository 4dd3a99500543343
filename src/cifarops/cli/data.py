"""`cifarops data`: from images to snapshots."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarops.cli.common import (
    PARAMS,
    JsonFlag,
    ParamsFile,
    ProfileName,
    emit,
    facts,
    group,
    progress_bars,
    table,
    write_pointer,
)
from cifarops.config import SourceKind, load_params
from cifarops.settings import Settings

if TYPE_CHECKING:
    from cifarops.data.snapshot import Snapshot

app = group("Turn images into snapshots: immutable, validated data sets.")

SnapshotId = Annotated[str, typer.Argument(help="A snapshot's id, or the beginning of one.", metavar="ID")]


@app.command("ingest")
def ingest_command(
    source: Annotated[
        SourceKind | None, typer.Option("--source", help="By default what the profile says.")
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="PATH|URL", help="Directory or archive of images, or a copy of CIFAR-10."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help='Write {"snapshot": ID} to this file, too.')
    ] = None,
    profile: ProfileName = None,
    params: ParamsFile = PARAMS,
    as_json: JsonFlag = False,
) -> None:
    """Read a source, validate it and write a snapshot; done before with the same input, only look it up."""
    from cifarops.data.ingest import ingest

    overrides = {"data": {"source": source}} if source else {}
    data = load_params(params, profile, overrides).data
    settings = Settings.from_environment()
    with progress_bars() as progress:
        result = ingest(
            data,
            origin=origin,
            snapshots=settings.snapshots,
            downloads=settings.downloads,
            cache=settings.cache,
            cifar10_url=settings.cifar10_url,
            progress=progress,
        )
    write_pointer(out, {"snapshot": result.snapshot.id})
    document = _document(result.snapshot) | {"cached": result.cached, "seconds": round(result.seconds, 3)}
    emit(document, as_json=as_json, human=facts("snapshot", _summary(result.snapshot)))


@app.command("list")
def list_command(as_json: JsonFlag = False) -> None:
    """List the snapshots of the workspace."""
    from cifarops.data.snapshot import list_snapshots

    found = list_snapshots(Settings.from_environment().snapshots)
    rows = [
        (
            snapshot.id,
            snapshot.meta.source.name,
            len(snapshot.classes),
            ", ".join(f"{split} {count:,}" for split, count in snapshot.counts.items()),
            snapshot.meta.parent,
        )
        for snapshot in found
    ]
    emit(
        [_document(snapshot) for snapshot in found],
        as_json=as_json,
        human=table("snapshots", ("id", "source", "classes", "images", "parent"), rows),
    )


@app.command("show")
def show_command(snapshot_id: SnapshotId, as_json: JsonFlag = False) -> None:
    """Show a snapshot: images per class and split, findings, preprocessing."""
    from rich.console import Group

    from cifarops.data.snapshot import open_snapshot

    snapshot = open_snapshot(Settings.from_environment().snapshots, snapshot_id)
    meta = snapshot.meta
    counts = zip(snapshot.classes, *(meta.splits[split].per_class for split in snapshot.counts), strict=True)
    findings = [
        (finding.severity, finding.check, finding.action, finding.message, *finding.examples[:1])
        for finding in meta.findings
    ]
    human = Group(
        facts("snapshot", _summary(snapshot)),
        table("images", ("class", *snapshot.counts), counts),
        table("findings", ("severity", "check", "action", "what", "for example"), findings),
        facts("preprocessing", meta.preprocessing.model_dump()),
    )
    emit({"id": snapshot.id, **meta.model_dump(mode="json")}, as_json=as_json, human=human)


@app.command("verify")
def verify_command(snapshot_id: SnapshotId, as_json: JsonFlag = False) -> None:
    """Compare every array of a snapshot with its recorded hash."""
    from cifarops.data.snapshot import open_snapshot

    snapshot = open_snapshot(Settings.from_environment().snapshots, snapshot_id)
    snapshot.verify()
    emit(
        {"snapshot": snapshot.id, "intact": True}, as_json=as_json, human=f"Snapshot {snapshot.id} is intact."
    )


def _document(snapshot: "Snapshot") -> dict[str, Any]:
    meta = snapshot.meta
    return {
        "snapshot": snapshot.id,
        "source": meta.source.model_dump(),
        "parent": meta.parent,
        "classes": list(meta.classes),
        "counts": snapshot.counts,
        "findings": [finding.model_dump(mode="json") for finding in meta.findings],
    }


def _summary(snapshot: "Snapshot") -> dict[str, Any]:
    meta = snapshot.meta
    return {
        "id": snapshot.id,
        "source": f"{meta.source.kind}: {meta.source.name}",
        "classes": len(meta.classes),
        **{split: f"{count:,} images" for split, count in snapshot.counts.items()},
        "findings": len(meta.findings),
        "where": str(snapshot.path),
    }
