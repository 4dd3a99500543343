"""`cifarops retrain`."""

from typing import Annotated

import typer

from cifarops.budgets import POLICY, load_budgets
from cifarops.cli.common import (
    PARAMS,
    JsonFlag,
    ParamsFile,
    PolicyFile,
    ProfileName,
    emit,
    facts,
    progress_bars,
)
from cifarops.config import load_params
from cifarops.settings import EnvironmentName, Settings


def command(
    environment: Annotated[
        EnvironmentName, typer.Option(help="Whose labelled images to learn from.")
    ] = "production",
    params_file: ParamsFile = PARAMS,
    profile: ProfileName = None,
    policy: PolicyFile = POLICY,
    as_json: JsonFlag = False,
) -> None:
    """Train the running version further on what production has labelled; gate and register the result."""
    from cifarops.ledger.store import Ledger
    from cifarops.registry.versions import Registry
    from cifarops.retraining.retrain import retrain

    settings = Settings.from_environment()
    params = load_params(params_file, profile)
    with Ledger(settings.ledger) as ledger, progress_bars() as progress:
        outcome = retrain(
            environment,
            params,
            budgets=load_budgets(policy, params.profile),
            settings=settings,
            ledger=ledger,
            registry=Registry.of(settings),
            progress=progress,
        )
    document = {
        "snapshot": outcome.snapshot.id,
        "bundle": outcome.bundle.digest,
        "verdict": outcome.verdict.answer,
        "reasons": list(outcome.verdict.reasons),
        "version": outcome.version.number if outcome.version else None,
    }
    emit(document, as_json=as_json, human=facts("Retrained", document))
    if outcome.version is None:
        raise typer.Exit(1)
