"""`cifarops monitor`: drift and accuracy of what an environment runs."""

from typing import Annotated

import typer

from cifarops.cli.common import PARAMS, JsonFlag, ParamsFile, ProfileName, emit, facts, group, notes
from cifarops.config import load_params
from cifarops.settings import EnvironmentName, Settings

app = group("Watch what an environment answers.")


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
    """Check the newest predictions for drift, and the newest labelled ones for accuracy."""
    from cifarops.ledger.store import Ledger
    from cifarops.monitoring.check import check as look

    settings = Settings.from_environment()
    params = load_params(params_file, profile)
    with Ledger(settings.ledger) as ledger:
        report = look(
            environment, ledger=ledger, bundles=settings.bundles, params=params.monitor, actor=settings.actor
        )
    emit(
        {**report.model_dump(mode="json"), "alarms": list(report.alarms)},
        as_json=as_json,
        human=facts(f"{environment}, version {report.version}", report.facts()),
    )
    notes.print(report.advice(), highlight=False)
    if fail_on_alarm and report.alarms:
        raise typer.Exit(1)
