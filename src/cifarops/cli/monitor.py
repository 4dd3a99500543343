"""`cifarops monitor`: drift and accuracy of what an environment runs."""

from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import (
    PARAMS,
    JsonFlag,
    ParamsFile,
    ProfileName,
    emit,
    facts,
    group,
    notes,
    pointed,
    progress_bars,
    table,
)
from cifarops.config import load_params
from cifarops.settings import EnvironmentName, Settings

app = group("Watch what an environment answers.")

BundleName = Annotated[
    str | None, typer.Argument(help="Digest, a beginning of one, or a pointer file; by default the newest.")
]


@app.command()
def check(
    environment: Annotated[EnvironmentName, typer.Option(help="Where to look.")] = "production",
    fail_on_alarm: Annotated[
        bool, typer.Option("--fail-on-alarm", help="Exit 1 when there is an alarm.")
    ] = False,
    params_file: ParamsFile = PARAMS,
    profile: ProfileName = None,
    as_json: JsonFlag = False,
) -> None:
    """Check every new prediction for drift, and the newest labelled ones for accuracy."""
    from cifarops.ledger.store import Ledger
    from cifarops.monitoring.check import check as look

    settings = Settings.from_environment()
    params = load_params(params_file, profile)
    with Ledger(settings.ledger) as ledger, progress_bars() as progress:
        report = look(
            environment,
            ledger=ledger,
            bundles=settings.bundles,
            snapshots=settings.snapshots,
            folder=settings.monitoring,
            params=params.monitor,
            actor=settings.actor,
            progress=progress,
        )
    emit(
        {**report.model_dump(mode="json"), "alarms": list(report.alarms)},
        as_json=as_json,
        human=facts(f"{environment}, version {report.version}", report.facts()),
    )
    notes.print(report.advice(), highlight=False)
    if fail_on_alarm and report.alarms:
        raise typer.Exit(1)


@app.command()
def drill(
    bundle: BundleName = None,
    scenarios: Annotated[Path, typer.Option(help="Folder of scenarios.")] = Path("scenarios"),
    out: Annotated[
        Path | None, typer.Option(help="Folder for table and plot; by default in the workspace.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of the images.")] = 0,
    params_file: ParamsFile = PARAMS,
    profile: ProfileName = None,
    as_json: JsonFlag = False,
) -> None:
    """Play known changes against a bundle's monitoring and score it; exits 1 after a false alarm or a miss."""
    from cifarops.bundle.store import choose_bundle
    from cifarops.data.snapshot import open_snapshot
    from cifarops.monitoring.stream import Yardstick
    from cifarops.monitoring.suite import load_suite, measure_suite
    from cifarops.simulation.drill import drill as play
    from cifarops.simulation.drill import load_scenarios
    from cifarops.simulation.drill_report import COLUMNS, row, write_drill
    from cifarops.simulation.play import stream_for

    settings = Settings.from_environment()
    params = load_params(params_file, profile)
    wanted = load_scenarios(scenarios)
    chosen = choose_bundle(settings.bundles, pointed(bundle, "bundle"))
    data = open_snapshot(settings.snapshots, chosen.manifest.snapshot)
    with progress_bars() as progress:
        shown = load_suite(settings.monitoring, chosen) or measure_suite(
            chosen, data, folder=settings.monitoring, progress=progress
        )
        report = play(
            Yardstick.of(chosen), shown, wanted, stream_for(data, seed), params.monitor, progress=progress
        )
    written = write_drill(report, out or settings.monitoring / "drill")
    emit(
        {**report.model_dump(mode="json"), "score": report.score, "files": [str(path) for path in written]},
        as_json=as_json,
        human=table(f"Drill of bundle {chosen.digest[:12]}", COLUMNS, map(row, report.played)),
    )
    notes.print(facts("Score", report.score))
    if report.score["false_alarms"] or report.score["missed"]:
        raise typer.Exit(1)


@app.command()
def suite(
    bundle: BundleName = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a bundle the robustness suite: what drift would look like, and how far off accuracy estimates are there."""
    from cifarops.bundle.store import choose_bundle
    from cifarops.data.snapshot import open_snapshot
    from cifarops.monitoring.suite import measure_suite

    settings = Settings.from_environment()
    chosen = choose_bundle(settings.bundles, pointed(bundle, "bundle"))
    data = open_snapshot(settings.snapshots, chosen.manifest.snapshot)
    with progress_bars() as progress:
        measured = measure_suite(chosen, data, folder=settings.monitoring, progress=progress)
    columns = ("shown", "severity", "accuracy", "COTT", "ATC", "CBPE")
    rows = [
        (each.name, each.severity, each.accuracy, each.estimate.cott, each.estimate.atc, each.estimate.cbpe)
        for each in measured.shown
    ]
    errors = {name: measured.errors(name) for name in ("cott", "atc", "cbpe")}
    emit(
        {**measured.model_dump(mode="json"), "errors": errors},
        as_json=as_json,
        human=table(f"Bundle {chosen.digest[:12]}, {measured.images} images of valid", columns, rows),
    )
    for name, (mean, worst) in errors.items():
        notes.print(
            f"{name.upper()} is off by {mean:.1%} on the average, {worst:.1%} at worst.", highlight=False
        )
