"""`cifarops evaluate`: how good a bundle is, and whether it may replace the one in production."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from cifarops.budgets import POLICY, load_budgets
from cifarops.cli.common import (
    JsonFlag,
    PolicyFile,
    emit,
    group,
    notes,
    pointed,
    progress_bars,
    write_pointer,
)
from cifarops.settings import Settings

app = group("Measure a bundle; judge whether it may replace the one in production.")

BundleName = Annotated[
    str | None,
    typer.Argument(
        metavar="[BUNDLE]", help="Digest, a beginning of one, or a pointer file; by default the newest."
    ),
]
SnapshotName = Annotated[
    str | None, typer.Option(help="Snapshot id or pointer file; by default the one that it was trained on.")
]
OutFile = Annotated[Path | None, typer.Option(help="Write the result as a small JSON file.")]


@app.command()
def report(
    bundle: BundleName = None,
    snapshot: SnapshotName = None,
    out: OutFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Measure a bundle on `valid`: accuracy, each class, confusion, calibration, with intervals."""
    from cifarops.bundle.store import choose_bundle
    from cifarops.cli.evidence import report_table
    from cifarops.data.snapshot import open_snapshot
    from cifarops.evaluation.score import evaluate_split

    settings = Settings.from_environment()
    chosen = choose_bundle(settings.bundles, pointed(bundle, "bundle"))
    data = open_snapshot(settings.snapshots, pointed(snapshot, "snapshot") or chosen.manifest.snapshot)
    with progress_bars() as progress:
        result = evaluate_split(chosen, data, "valid", progress)
    write_pointer(out, {"bundle": result.bundle, **result.metrics()})
    emit(result.model_dump(mode="json"), as_json=as_json, human=report_table(result))


@app.command()
def incumbent(bundle: BundleName = None, out: OutFile = None, as_json: JsonFlag = False) -> None:
    """Say what the gate compares a bundle with: what runs in production, or what it replaced there itself."""
    from cifarops.bundle.store import choose_bundle
    from cifarops.evaluation.judgement import incumbent_digest
    from cifarops.ledger.store import Ledger

    settings = Settings.from_environment()
    chosen = choose_bundle(settings.bundles, pointed(bundle, "bundle"))
    with Ledger(settings.ledger) as ledger:
        digest = incumbent_digest(chosen.digest, ledger.environment("production"))
    document = {"bundle": chosen.digest, "incumbent": digest}
    write_pointer(out, document)
    emit(document, as_json=as_json, human=digest or "Nothing: it would be the first in production.")


@app.command()
def gate(
    bundle: BundleName = None,
    against: Annotated[
        Literal["production", "none"], typer.Option(help="What it must beat; none judges a first model.")
    ] = "production",
    snapshot: SnapshotName = None,
    policy: PolicyFile = POLICY,
    out: OutFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Judge a bundle on `test` (and `recent`), by the budgets of its own profile. Exits 0 for promote, 1 for reject and inconclusive."""
    from cifarops.bundle.store import choose_bundle, find_bundle
    from cifarops.cli.evidence import verdict_tables
    from cifarops.data.snapshot import open_snapshot
    from cifarops.evaluation.judgement import gate_bundle, incumbent_digest
    from cifarops.ledger.store import Ledger

    settings = Settings.from_environment()
    chosen = choose_bundle(settings.bundles, pointed(bundle, "bundle"))
    data = open_snapshot(settings.snapshots, pointed(snapshot, "snapshot") or chosen.manifest.snapshot)
    with Ledger(settings.ledger) as ledger, progress_bars() as progress:
        running = (
            incumbent_digest(chosen.digest, ledger.environment("production"))
            if against == "production"
            else None
        )
        verdict = gate_bundle(
            chosen,
            find_bundle(settings.bundles, running) if running else None,
            data,
            load_budgets(policy, chosen.manifest.profile),
            ledger=ledger,
            verdicts=settings.verdicts,
            actor=settings.actor,
            progress=progress,
        )
    write_pointer(out, verdict.model_dump(mode="json"))
    emit(verdict.model_dump(mode="json"), as_json=as_json, human=verdict_tables(verdict))
    notes.print(verdict.advice(), highlight=False)
    if verdict.answer != "promote":
        raise typer.Exit(1)
