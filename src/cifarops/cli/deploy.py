"""`cifarops deploy`: what runs where, promotion, rollback, history, watch; more in `deploy_release` and `deploy_canary`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cifarops.cli import deploy_canary, deploy_release
from cifarops.cli.common import PARAMS, JsonFlag, ParamsFile, ProfileName, emit, facts, group, notes, table
from cifarops.cli.deploy_release import WATCH, Environment, Reason, Watch
from cifarops.settings import EnvironmentName, Settings

if TYPE_CHECKING:
    from cifarops.deployment.rollout import Rollout

app = group("See and change which version and which code each environment runs.")
for _command in ("build", "pin", "release", "start", "stop"):
    app.command(_command)(getattr(deploy_release, _command))
for _command in ("canary", "shadow", "judge", "compare_shadow", "stop_canary", "stop_shadow"):
    app.command(_command.replace("_", "-"))(getattr(deploy_canary, _command))


@app.command()
def status(as_json: JsonFlag = False) -> None:
    """Show what every environment runs, and what its servers really answer with."""
    from cifarops.deployment.environment import status as look
    from cifarops.ledger.store import Ledger

    settings = Settings.from_environment()
    with Ledger(settings.ledger) as ledger:
        found = look(ledger, settings.releases)
    emit(
        [asdict(environment) for environment in found],
        as_json=as_json,
        human=table(
            "Environments",
            ("environment", "version", "bundle", "code", "since", "previous", "servers"),
            [environment.row() for environment in found],
        ),
    )


@app.command()
def promote(
    version: Annotated[int, typer.Argument(help="Version number: cifarops registry list")],
    to: Annotated[Literal["staging", "production"], typer.Option(help="Which environment.")],
    expected: Annotated[int | None, typer.Option(help="Refuse unless this version runs there now.")] = None,
    reason: Reason = "by hand",
    as_json: JsonFlag = False,
) -> None:
    """Let an environment run a version, and wait until every server answers with it."""
    from cifarops.deployment import rollout
    from cifarops.ledger.store import Ledger
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    with Ledger(settings.ledger) as ledger:
        result = rollout.promote(
            to,
            version,
            ledger=ledger,
            registry=Registry.of(settings),
            actor=settings.actor,
            reason=reason,
            expected=expected,
        )
    _show(result, as_json)


@app.command()
def rollback(
    environment: Environment = "production",
    code: Annotated[
        bool, typer.Option("--code", help="The previous code instead of the previous model.")
    ] = False,
    watch: Watch = WATCH,
    reason: Reason = "by hand",
    as_json: JsonFlag = False,
) -> None:
    """Let an environment run its previous version again, or with --code its previous code."""
    from cifarops.deployment import deploy, rollout
    from cifarops.deployment.aliases import UnopenedRegistry
    from cifarops.ledger.store import Ledger

    settings = Settings.from_environment()
    with Ledger(settings.ledger) as ledger:
        if code:
            deployed = deploy.rollback_code(
                environment, ledger=ledger, settings=settings, reason=reason, watch_s=watch
            )
            deploy_release.show(deployed, as_json)
            return
        result = rollout.rollback(
            environment,
            ledger=ledger,
            registry=UnopenedRegistry(settings),
            actor=settings.actor,
            reason=reason,
        )
    _show(result, as_json)


@app.command()
def history(
    environment: Annotated[EnvironmentName | None, typer.Option(help="Only this environment.")] = None,
    last: Annotated[int, typer.Option(min=1, help="How many entries.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Show the newest decisions: gates, registrations, promotions, rollbacks, alarms, retrainings."""
    from cifarops.deployment.environment import decision_row
    from cifarops.ledger.store import Ledger

    with Ledger(Settings.from_environment().ledger) as ledger:
        decisions = ledger.decisions(environment=environment, last=last)
    emit(
        [asdict(decision) for decision in decisions],
        as_json=as_json,
        human=table(
            "Decisions",
            ("#", "when", "what", "environment", "version", "by", "why"),
            [decision_row(decision) for decision in decisions],
        ),
    )


@app.command()
def watch(
    environment: Environment = "production",
    fail_on_rollback: Annotated[
        bool, typer.Option("--fail-on-rollback", help="Exit 1 when the version was rolled back.")
    ] = False,
    params: ParamsFile = PARAMS,
    profile: ProfileName = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare the running version with the one before by their true labels; roll back when it is surely worse."""
    from cifarops.config import load_params
    from cifarops.deployment import watch as watching
    from cifarops.deployment.aliases import UnopenedRegistry
    from cifarops.ledger.store import Ledger

    settings = Settings.from_environment()
    with Ledger(settings.ledger) as ledger:
        report = watching.watch(
            environment,
            ledger=ledger,
            registry=UnopenedRegistry(settings),
            params=load_params(params, profile).monitor,
            actor=settings.actor,
        )
    _warn(report.warning)
    emit(report.document(), as_json=as_json, human=f"{report.verdict}: {report.message}")
    if fail_on_rollback and report.verdict == "roll back":
        raise typer.Exit(1)


def _show(result: "Rollout", as_json: bool) -> None:
    _warn(result.warning)
    emit(
        asdict(result),
        as_json=as_json,
        human=facts(
            result.state.name,
            {
                "runs version": result.state.version,
                "previous": result.state.previous_version,
                "answered by": ", ".join(result.servers) or "no server is running",
            },
        ),
    )


def _warn(warning: str | None) -> None:
    if warning:
        notes.print(f"warning: {warning}", style="yellow", markup=False)
