"""`cifarops deploy canary | shadow | judge | stop-canary | stop-shadow`: versions beside the stable one."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cifarops.cli.common import PARAMS, JsonFlag, ParamsFile, ProfileName, emit, facts, table
from cifarops.cli.deploy_release import Environment, Reason
from cifarops.settings import Settings

if TYPE_CHECKING:
    from cifarops.deployment.comparison import Aspect
    from cifarops.deployment.rollout import Rollout

Version = Annotated[int, typer.Argument(help="Version number: cifarops registry list")]
_PAUSE_SECONDS = 2.0


def canary(
    version: Version,
    percent: Annotated[float, typer.Option(help="Share of the clients, above 0 and below 100.")],
    environment: Environment = "production",
    reason: Reason = "by hand",
    as_json: JsonFlag = False,
) -> None:
    """Let a version answer a share of the clients; each stays with its version. Again: another share."""
    from cifarops.deployment.beside import begin_canary
    from cifarops.ledger.store import Ledger
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    with Ledger(settings.ledger) as ledger:
        result = begin_canary(
            environment,
            version,
            percent=percent,
            ledger=ledger,
            registry=Registry.of(settings),
            actor=settings.actor,
            reason=reason,
        )
    _show(result, as_json)


def shadow(
    version: Version,
    environment: Environment = "production",
    reason: Reason = "by hand",
    as_json: JsonFlag = False,
) -> None:
    """Let a version answer the same requests as the stable one; its answers are recorded and told to nobody."""
    from cifarops.deployment.beside import begin_shadow
    from cifarops.ledger.store import Ledger
    from cifarops.registry.versions import Registry

    settings = Settings.from_environment()
    with Ledger(settings.ledger) as ledger:
        result = begin_shadow(
            environment,
            version,
            ledger=ledger,
            registry=Registry.of(settings),
            actor=settings.actor,
            reason=reason,
        )
    _show(result, as_json)


def stop_canary(
    environment: Environment = "production", reason: Reason = "by hand", as_json: JsonFlag = False
) -> None:
    """Let the stable version answer everyone again."""
    from cifarops.deployment.beside import end_canary
    from cifarops.ledger.store import Ledger

    settings = Settings.from_environment()
    with Ledger(settings.ledger) as ledger:
        result = end_canary(environment, ledger=ledger, actor=settings.actor, reason=reason)
    _show(result, as_json)


def stop_shadow(
    environment: Environment = "production", reason: Reason = "by hand", as_json: JsonFlag = False
) -> None:
    """Let the shadow answer no more."""
    from cifarops.deployment.beside import end_shadow
    from cifarops.ledger.store import Ledger

    settings = Settings.from_environment()
    with Ledger(settings.ledger) as ledger:
        result = end_shadow(environment, ledger=ledger, actor=settings.actor, reason=reason)
    _show(result, as_json)


def judge(
    environment: Environment = "production",
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to look again and again until there is a verdict.")
    ] = 0.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
    params: ParamsFile = PARAMS,
    profile: ProfileName = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare the canary with the stable version; promote it when it is surely as good, end it when it is surely worse."""
    from cifarops.config import load_params
    from cifarops.deployment import beside
    from cifarops.ledger.store import Ledger
    from cifarops.registry.versions import Registry

    settings, limits = Settings.from_environment(), load_params(params, profile).canary
    deadline = time.monotonic() + wait
    with Ledger(settings.ledger) as ledger:
        registry = Registry.of(settings)
        while True:
            if dry_run:
                found = beside.compare(environment, ledger=ledger, params=limits)
            else:
                found = beside.judge(
                    environment, ledger=ledger, registry=registry, params=limits, actor=settings.actor
                )
            if found.verdict != "hold" or time.monotonic() >= deadline:
                break
            time.sleep(_PAUSE_SECONDS)
    title = f"{found.verdict}: {found.message}"
    emit(found.document(), as_json=as_json, human=_table(title, found.aspects))


def compare_shadow(
    environment: Environment = "production",
    params: ParamsFile = PARAMS,
    profile: ProfileName = None,
    as_json: JsonFlag = False,
) -> None:
    """Show how often the shadow contradicts the stable version, and which of them is right more often."""
    from cifarops.config import load_params
    from cifarops.deployment import beside
    from cifarops.ledger.store import Ledger

    settings, limits = Settings.from_environment(), load_params(params, profile).canary
    with Ledger(settings.ledger) as ledger:
        aspects = beside.compare_shadow(environment, ledger=ledger, params=limits)
    emit([aspect.document() for aspect in aspects], as_json=as_json, human=_table("Shadow", aspects))


def _table(title: str, aspects: Sequence["Aspect"]) -> Table:
    columns = ("question", "finding", "comparisons", "estimate and bounds", "limit")
    return table(title, columns, [aspect.row() for aspect in aspects])


def _show(result: "Rollout", as_json: bool) -> None:
    state = result.state
    emit(
        asdict(result),
        as_json=as_json,
        human=facts(
            state.name,
            {
                "runs version": state.version,
                "canary": (
                    f"version {state.canary.version}, {state.canary.percent:g} %" if state.canary else None
                ),
                "shadow": f"version {state.shadow.version}" if state.shadow else None,
                "answered by": ", ".join(result.servers) or "no server is running",
            },
        ),
    )
