"""What runs beside an environment's stable version: begun, judged, ended.

As with promotions the ledger is changed first, by compare-and-swap, and every live server must follow, or all is as before.
"""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cifarops.config import CanaryParams
from cifarops.deployment.comparison import Aspect, Comparison, compare_canary, compare_pairs, turned_round
from cifarops.deployment.environment import ask
from cifarops.deployment.preflight import preflight
from cifarops.deployment.rollout import Rollout, check_allowed, check_same_model, promote
from cifarops.deployment.settle import settle
from cifarops.errors import UnavailableError, UsageError
from cifarops.ledger.records import Canary, Decision, DecisionKind, EnvironmentName, EnvironmentState, Shadow
from cifarops.ledger.store import Ledger

if TYPE_CHECKING:  # MLflow takes seconds to import, and stopping can do without
    from cifarops.registry.versions import Registry, Version

_TIMEOUT_SECONDS = 10.0


def begin_canary(
    environment: EnvironmentName,
    version: int,
    *,
    percent: float,
    ledger: Ledger,
    registry: "Registry",
    actor: str,
    reason: str,
    timeout_s: float = _TIMEOUT_SECONDS,
) -> Rollout:
    """Let a version answer a share of an environment's clients. The running canary gets another share that way.

    Args:
        environment: Which environment.
        version: Number in the registry.
        percent: Share of the clients, above 0 and below 100.
        ledger: Where the environments are.
        registry: Where the versions are.
        actor: Who is recorded.
        reason: Why, for the history.
        timeout_s: Seconds that the servers have.

    Raises:
        UsageError: The share is out of range, the version may not be promoted there, or nothing is stable there yet.
        IntegrityError: Its bundle is damaged, unsigned or fails the preflight, or the history was changed.
        ConflictError: Someone else changed the environment meanwhile.
        UnavailableError: A server did not follow; all is as before.
    """
    if not 0 < percent < 100:
        raise UsageError(
            f"{percent:g} % is no share for a canary.", fix="Give a percentage above 0 and below 100."
        )
    seen = ledger.environment(environment)
    found = _admitted(version, seen, ledger, registry)
    check_allowed(found, environment, ledger)
    goes_on = seen.canary is not None and seen.canary.digest == found.digest
    since = seen.canary.since if seen.canary and goes_on else time.time()
    wanted = replace(seen, canary=Canary(version, found.digest, percent, since))
    evidence = {"digest": found.digest, "percent": percent, "stable": seen.version}
    decision = Decision("canary", environment, version, actor, reason, evidence)
    return _taken_up(seen, wanted, decision, ledger, timeout_s)


def begin_shadow(
    environment: EnvironmentName,
    version: int,
    *,
    ledger: Ledger,
    registry: "Registry",
    actor: str,
    reason: str,
    timeout_s: float = _TIMEOUT_SECONDS,
) -> Rollout:
    """Let a version answer the same requests as the stable one, recorded and told to nobody.

    Arguments and errors as for `begin_canary`; the version need not have been on staging.
    """
    seen = ledger.environment(environment)
    found = _admitted(version, seen, ledger, registry)
    wanted = replace(seen, shadow=Shadow(version, found.digest, time.time()))
    evidence = {"digest": found.digest, "stable": seen.version}
    decision = Decision("shadow", environment, version, actor, reason, evidence)
    return _taken_up(seen, wanted, decision, ledger, timeout_s)


def end_canary(
    environment: EnvironmentName,
    *,
    ledger: Ledger,
    actor: str,
    reason: str,
    evidence: dict[str, Any] | None = None,
    timeout_s: float = _TIMEOUT_SECONDS,
) -> Rollout:
    """Let the stable version answer everyone again. Needs the ledger only.

    Raises:
        UsageError: There is no canary.
        ConflictError: Someone else changed the environment meanwhile.
        UnavailableError: A server did not follow.
    """
    seen = ledger.environment(environment)
    if seen.canary is None:
        raise _nothing("canary", environment)
    decision = Decision("canary_stopped", environment, seen.canary.version, actor, reason, evidence or {})
    return _ended(seen, replace(seen, canary=None), decision, ledger, timeout_s)


def end_shadow(
    environment: EnvironmentName,
    *,
    ledger: Ledger,
    actor: str,
    reason: str,
    timeout_s: float = _TIMEOUT_SECONDS,
) -> Rollout:
    """Let the shadow answer no more; errors as for `end_canary`."""
    seen = ledger.environment(environment)
    if seen.shadow is None:
        raise _nothing("shadow", environment)
    decision = Decision("shadow_stopped", environment, seen.shadow.version, actor, reason)
    return _ended(seen, replace(seen, shadow=None), decision, ledger, timeout_s)


def compare(environment: EnvironmentName, *, ledger: Ledger, params: CanaryParams) -> Comparison:
    """Compare the canary with the stable version by all that is recorded since it runs, and change nothing.

    Raises:
        UsageError: There is no canary.
    """
    state = ledger.environment(environment)
    if state.canary is None or state.version is None:
        raise _nothing("canary", environment)
    canary, stable = state.canary, state.version
    return compare_canary(
        canary.version,
        stable,
        ledger.attempts(environment, since=canary.since),
        ledger.pairs(environment, answered_by=canary.version, shadowed_by=stable, since=canary.since),
        params,
    )


def compare_shadow(
    environment: EnvironmentName, *, ledger: Ledger, params: CanaryParams
) -> tuple[Aspect, Aspect]:
    """Compare the shadow's answers with the stable version's: disagreement, and accuracy as far as labels have come.

    Raises:
        UsageError: There is no shadow.
    """
    state = ledger.environment(environment)
    if state.shadow is None or state.version is None:
        raise _nothing("shadow", environment)
    shadow, stable = state.shadow, state.version
    pairs = ledger.pairs(environment, answered_by=stable, shadowed_by=shadow.version, since=shadow.since)
    return compare_pairs(turned_round(pairs), params)


def judge(
    environment: EnvironmentName, *, ledger: Ledger, registry: "Registry", params: CanaryParams, actor: str
) -> Comparison:
    """Compare, and do what the verdict says: promote the canary, end it, or leave it as it is.

    Raises:
        UsageError: There is no canary.
        ConflictError: Someone else changed the environment meanwhile.
        UnavailableError: A server did not follow.
    """
    found = compare(environment, ledger=ledger, params=params)
    if found.verdict == "promote":
        promote(
            environment,
            found.version,
            ledger=ledger,
            registry=registry,
            actor=actor,
            reason=found.message,
            expected=found.stable,
            evidence=found.document(),
        )
    elif found.verdict == "roll back":
        end_canary(environment, ledger=ledger, actor=actor, reason=found.message, evidence=found.document())
    return found


def _admitted(version: int, seen: EnvironmentState, ledger: Ledger, registry: "Registry") -> "Version":
    if seen.version is None:
        raise UsageError(
            f"{seen.name} runs no version that another one could run beside.",
            fix=f"Promote it: cifarops deploy promote {version} --to {seen.name}",
        )
    if seen.version == version:
        raise UsageError(
            f"Version {version} is what {seen.name} runs for everyone.", fix="See: cifarops registry list"
        )
    found = registry.version(version)
    check_same_model(found, ledger)
    ledger.check_history()
    bundle = registry.bundle(found)
    preflight(bundle)
    classes = registry.bundle(seen.version).manifest.classes
    if bundle.manifest.classes != classes:
        raise UsageError(
            f"Version {version} knows other classes than version {seen.version}, so their answers can't be compared.",
            fix=f"Promote it instead: cifarops deploy promote {version} --to {seen.name}",
        )
    registry.sign(found, seen.name, ledger)
    return found


def _taken_up(
    seen: EnvironmentState, wanted: EnvironmentState, decision: Decision, ledger: Ledger, timeout_s: float
) -> Rollout:
    state = ledger.swap(seen, wanted, decision)
    settled = settle(state, ledger, timeout_s=timeout_s)
    problem = settled.problem or next(
        (f"{url} says: {found}" for url in settled.servers if (found := ask(url, state.name).beside_problem)),
        None,
    )
    if problem:
        kind: DecisionKind = "canary_stopped" if decision.kind == "canary" else "shadow_stopped"
        reason = f"version {decision.version} was not taken up"
        back = Decision(kind, state.name, decision.version, decision.actor, reason, {"problem": problem})
        settle(ledger.swap(state, seen, back), ledger, timeout_s=timeout_s)
        raise UnavailableError(
            f"Version {decision.version} was not taken up beside version {seen.version}: {problem}",
            fix="All is as before. See the server's log, and cifarops deploy status.",
        )
    return Rollout(state, settled.servers)


def _ended(
    seen: EnvironmentState, wanted: EnvironmentState, decision: Decision, ledger: Ledger, timeout_s: float
) -> Rollout:
    state = ledger.swap(seen, wanted, decision)
    settled = settle(state, ledger, timeout_s=timeout_s)
    if settled.problem:
        raise UnavailableError(
            f"The record of {seen.name} is changed, but not every server follows: {settled.problem}",
            fix="Restart that server.",
        )
    return Rollout(state, settled.servers)


def _nothing(role: str, environment: EnvironmentName) -> UsageError:
    return UsageError(
        f"{environment} has no {role}.",
        fix=f"Begin one: cifarops deploy {role} VERSION --environment {environment}",
    )
