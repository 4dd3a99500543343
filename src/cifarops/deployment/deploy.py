"""Model and code of an environment, changed together: release, rollback of the code, start and stop."""

from dataclasses import replace
from typing import TYPE_CHECKING

from cifarops.deployment.aliases import sync
from cifarops.deployment.change import Change, Deployed, bring_up, carry_out
from cifarops.deployment.code import open_code
from cifarops.deployment.environment import ask
from cifarops.deployment.lock import locked
from cifarops.deployment.release import Release
from cifarops.deployment.servers import Started, live_servers, stop_server
from cifarops.errors import UnavailableError, UsageError
from cifarops.ledger.records import Decision, EnvironmentName, EnvironmentState
from cifarops.ledger.store import Ledger
from cifarops.settings import Settings

if TYPE_CHECKING:  # MLflow takes seconds to import, and going back can do without
    from cifarops.registry.versions import Registry, Version

WATCH_SECONDS = 10.0
_HISTORY = 10_000


def deploy_release(
    release: Release,
    environment: EnvironmentName,
    *,
    ledger: Ledger,
    registry: "Registry",
    settings: Settings,
    reason: str,
    watch_s: float = WATCH_SECONDS,
    port: int | None = None,
) -> Deployed:
    """Let an environment run a release: its model and its code together, with no request failed on the way.

    Servers that run are replaced by processes of the release's code on the same sockets; where none runs, one is started.
    Deploying what runs and was kept already changes nothing; what was interrupted is brought to its end.

    Args:
        release: What shall run.
        environment: Where.
        ledger: Where the environments are.
        registry: Where the models are.
        settings: Of the workspace, and who is recorded.
        reason: Why, for the history.
        watch_s: Seconds that the new servers are watched; when they are unhealthy the old ones go on.
        port: Where a server is started if none runs; None takes the last one's port, or any free one.

    Raises:
        UsageError: Model or code is not here, the gate did not let it pass, or production is asked for before staging.
        IntegrityError: Model or code is damaged, the model unsigned, or the history was changed.
        ConflictError: Another deployment is at work, or someone else changed the environment meanwhile.
        UnavailableError: The new servers failed; what ran before runs again.
    """
    with locked(settings.run, environment):
        code = open_code(settings.releases / release.code)
        version = _admitted(release, environment, registry, ledger)
        if environment == "production":
            _check_staging(release, ledger)
        seen = ledger.environment(environment)
        wanted = _wanted(seen, version.number, release)
        if wanted == seen and _was_kept(seen, ledger):
            live = live_servers(environment, ledger)
            if live and all(server.code == release.code and not server.problem for server in live):
                return Deployed(seen, tuple(server.url for server in live))
        decision = Decision(
            "release",
            environment,
            version.number,
            settings.actor,
            reason,
            {"release": release.model_dump(), "from": {"version": seen.version, "code": seen.code}},
        )
        change = Change(seen, wanted, code, decision, port, watch_s)
        deployed = carry_out(change, ledger=ledger, settings=settings)
        return replace(deployed, warning=sync(registry, ledger))


def rollback_code(
    environment: EnvironmentName,
    *,
    ledger: Ledger,
    settings: Settings,
    reason: str,
    watch_s: float = WATCH_SECONDS,
) -> Deployed:
    """Let an environment run its previous code again, with the model that it has. Needs no registry.

    Raises:
        UsageError: There is no previous code, or it is not here.
        ConflictError: Another deployment is at work, or someone else changed the environment meanwhile.
        UnavailableError: The previous code failed; what ran before runs again.
    """
    with locked(settings.run, environment):
        seen = ledger.environment(environment)
        if seen.previous_code is None:
            raise UsageError(
                f"{environment} has no previous code to return to.",
                fix="Release it: cifarops deploy release release.json --environment "
                f"{environment}. See: cifarops deploy history",
            )
        code = open_code(settings.releases / seen.previous_code)
        # As with models: what was rolled back is nothing to return to.
        wanted = replace(seen, code=seen.previous_code, previous_code=None)
        evidence = {"from": seen.code, "to": wanted.code}
        decision = Decision("rollback_code", environment, seen.version, settings.actor, reason, evidence)
        return carry_out(
            Change(seen, wanted, code, decision, None, watch_s), ledger=ledger, settings=settings
        )


def start(
    environment: EnvironmentName, *, ledger: Ledger, settings: Settings, reason: str, port: int | None = None
) -> Deployed:
    """Let servers run what the ledger says: start one where none runs, replace those that run other code.

    Raises:
        UsageError: The environment has no code release.
        ConflictError: Another deployment is at work.
        UnavailableError: A server can't; the ones that ran before go on.
    """
    with locked(settings.run, environment):
        state = ledger.environment(environment)
        if state.code is None:
            raise UsageError(
                f"{environment} has no code release to start.",
                fix=f"Release one (cifarops deploy release), or: cifarops serve --environment {environment}",
            )
        code = open_code(settings.releases / state.code)
        started: list[Started] = []
        try:
            servers = bring_up(
                state, code, ledger=ledger, settings=settings, port=port, standby_s=0.0, started=started
            )
        except BaseException:
            for each in started:
                each.take_back()
            raise
        if started:
            evidence = {"servers": list(servers), "code": state.code, "digest": state.digest}
            ledger.record(Decision("start", environment, state.version, settings.actor, reason, evidence))
        return Deployed(state, servers)


def stop(environment: EnvironmentName, *, ledger: Ledger, settings: Settings, reason: str) -> tuple[str, ...]:
    """Stop every server of an environment on this machine, requests in flight first; returns their URLs.

    Raises:
        ConflictError: Another deployment is at work.
        UnavailableError: One does not end.
    """
    with locked(settings.run, environment):
        state = ledger.environment(environment)
        stopped = []
        for url in ledger.servers(environment):
            running = ask(url, environment)
            if not running.gone:
                if running.pid is None:
                    raise UnavailableError(
                        f"The server at {url} hangs: {running.problem}", fix="End its process by force."
                    )
                stop_server(running, environment, run=settings.run)
                stopped.append(url)
            ledger.retire_server(url)
        if stopped:
            evidence = {"servers": stopped, "code": state.code}
            ledger.record(Decision("stop", environment, state.version, settings.actor, reason, evidence))
        return tuple(stopped)


def _admitted(
    release: Release, environment: EnvironmentName, registry: "Registry", ledger: Ledger
) -> "Version":
    ledger.check_history()
    version = registry.by_digest(release.bundle)
    if version is None:
        raise UsageError(
            f"The registry has no model {release.bundle[:12]}.", fix="See: cifarops registry list"
        )
    if version.verdict != "promote":
        raise UsageError(
            f"The gate's verdict on version {version.number} is {version.verdict}, not promote.",
            fix="Release a model that passed: cifarops registry list",
        )
    registry.bundle(version)
    registry.sign(version, environment, ledger)
    return version


def _check_staging(release: Release, ledger: Ledger) -> None:
    if not _kept("staging", release.code, release.bundle, ledger):
        raise UsageError(
            f"Release {release.version} was not kept on staging; production takes only what was tried there.",
            fix="First: cifarops deploy release release.json --environment staging",
        )


def _was_kept(state: EnvironmentState, ledger: Ledger) -> bool:
    return _kept(state.name, state.code, state.digest, ledger)


def _kept(environment: EnvironmentName, code: str | None, digest: str | None, ledger: Ledger) -> bool:
    """Return whether this model with this code was ever watched there and found healthy."""
    return any(
        decision.kind == "kept" and (decision.evidence["code"], decision.evidence["digest"]) == (code, digest)
        for decision in ledger.decisions(environment=environment, last=_HISTORY)
    )


def _wanted(seen: EnvironmentState, version: int, release: Release) -> EnvironmentState:
    wanted = seen if seen.digest == release.bundle else seen.taking(version, release.bundle)
    if seen.code != release.code:
        wanted = replace(wanted, code=release.code, previous_code=seen.code)
    return wanted
