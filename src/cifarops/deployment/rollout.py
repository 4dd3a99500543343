"""Changing what an environment runs: preflight, compare-and-swap, and proof from every live server.

The ledger holds the truth and servers follow it; the registry's aliases are brought in line afterwards.
"""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from cifarops.deployment.aliases import Aliases, sync
from cifarops.deployment.preflight import preflight
from cifarops.deployment.settle import settle
from cifarops.errors import CifaropsError, ConflictError, UnavailableError, UsageError
from cifarops.ledger.records import ENVIRONMENTS, Decision, EnvironmentName, EnvironmentState
from cifarops.ledger.store import Ledger

if TYPE_CHECKING:  # MLflow takes seconds to import, and a rollback can do without
    from cifarops.registry.versions import Registry, Version

_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Rollout:
    """What a promotion or rollback led to.

    Attributes:
        state: What the environment runs now.
        servers: URLs of the live servers, each of which answers with that version.
        warning: Why the registry's aliases were not brought in line; None when all is well.
    """

    state: EnvironmentState
    servers: tuple[str, ...] = ()
    warning: str | None = None


def promote(
    environment: EnvironmentName,
    version: int,
    *,
    ledger: Ledger,
    registry: "Registry",
    actor: str,
    reason: str,
    expected: int | None = None,
    evidence: dict[str, Any] | None = None,
    timeout_s: float = _TIMEOUT_SECONDS,
) -> Rollout:
    """Let an environment run a version, and see every live server answer with it.

    A server that can't load it, or doesn't within `timeout_s`, brings the old version back everywhere. A version that
    runs already changes nothing.

    Args:
        environment: Which environment.
        version: Number in the registry.
        ledger: Where the environments are.
        registry: Where the versions are.
        actor: Who is recorded.
        reason: Why, for the history.
        expected: The version that the caller believes is running.
        evidence: What led to it, for the history.
        timeout_s: Seconds that the servers have.

    Raises:
        UsageError: No such version, its verdict is not `promote`, or production is asked for before staging.
        IntegrityError: Its bundle is damaged, unsigned or fails the preflight, or the history was changed.
        ConflictError: Another version than `expected` runs, someone else was faster, or the number stands for another
            model where it runs.
        UnavailableError: A server did not follow; the old version is back.
    """
    seen = ledger.environment(environment)
    _check_expected(seen, expected)
    found = registry.version(version)
    check_allowed(found, environment, ledger)
    check_same_model(found, ledger)
    ledger.check_history()
    flight = preflight(registry.bundle(version))
    registry.sign(found, environment, ledger)
    if seen.version == version:
        return Rollout(seen, tuple(ledger.servers(environment)))
    wanted = seen.taking(version, found.digest)
    shown = {
        "preflight": asdict(flight),
        "verdict": found.verdict,
        "digest": found.digest,
        "from": seen.version,
        **(evidence or {}),
    }
    decision = Decision("promote", environment, version, actor, reason, shown)
    state = ledger.swap(seen, wanted, decision)
    settled = settle(state, ledger, timeout_s=timeout_s)
    if settled.problem:
        raise _taken_back(seen, state, settled.problem, ledger, actor, timeout_s)
    return Rollout(state, settled.servers, sync(registry, ledger))


def rollback(
    environment: EnvironmentName,
    *,
    ledger: Ledger,
    registry: Aliases,
    actor: str,
    reason: str,
    evidence: dict[str, Any] | None = None,
    timeout_s: float = _TIMEOUT_SECONDS,
) -> Rollout:
    """Let an environment run its previous version again. Needs the ledger only, whatever state the registry is in.

    Args:
        environment: Which environment.
        ledger: Where the environments are.
        registry: Its aliases follow where possible.
        actor: Who is recorded.
        reason: Why, for the history.
        evidence: What led to it, for the history.
        timeout_s: Seconds that the servers have.

    Raises:
        UsageError: There is no previous version.
        ConflictError: Someone else changed the environment meanwhile.
        UnavailableError: A server did not follow.
    """
    seen = ledger.environment(environment)
    if seen.previous_version is None:
        raise UsageError(
            f"{environment} has no previous version to return to.",
            fix=f"Promote one: cifarops deploy promote VERSION --to {environment}. See: cifarops deploy history.",
        )
    wanted = seen.going_back()
    found = {"from": seen.version, "digest": wanted.digest, **(evidence or {})}
    decision = Decision("rollback", environment, wanted.version, actor, reason, found)
    state = ledger.swap(seen, wanted, decision)
    settled = settle(state, ledger, timeout_s=timeout_s)
    if settled.problem:
        raise UnavailableError(
            f"{environment} is set back to version {state.version}, but not every server follows: {settled.problem}",
            fix="Restart that server, or promote another version: cifarops registry list.",
        )
    return Rollout(state, settled.servers, sync(registry, ledger))


def _check_expected(seen: EnvironmentState, expected: int | None) -> None:
    if expected is not None and seen.version != expected:
        raise ConflictError(
            f"{seen.name} runs version {seen.version}, not {expected}.",
            fix="Look with: cifarops deploy status. Then decide again.",
        )


def check_allowed(found: "Version", environment: EnvironmentName, ledger: Ledger) -> None:
    """Refuse a version that did not pass the gate, and in production one that never ran on staging."""
    if found.verdict != "promote":
        raise UsageError(
            f"The gate's verdict on version {found.number} is {found.verdict or 'missing'}, not promote.",
            fix="Promote a version that passed: cifarops registry list.",
        )
    if environment == "production" and not _ran_on_staging(found.number, ledger):
        raise UsageError(
            f"Version {found.number} never ran on staging; production takes only what was tried there.",
            fix=f"First: cifarops deploy promote {found.number} --to staging",
        )


def check_same_model(found: "Version", ledger: Ledger) -> None:
    """Refuse a number that stands for another model somewhere: predictions are kept, and judged, by number."""
    for state in map(ledger.environment, ENVIRONMENTS):
        for number, digest in (
            (state.version, state.digest),
            (state.previous_version, state.previous_digest),
        ):
            if number == found.number and digest != found.digest:
                raise ConflictError(
                    f"Version {number} in the registry is bundle {found.digest[:12]}, but {state.name} knows bundle"
                    f" {digest[:12] if digest else None} by that number; the registry was made anew.",
                    fix="Restore the old registry, or register the bundles again in the order of: cifarops deploy history.",
                )


def _ran_on_staging(version: int, ledger: Ledger) -> bool:
    """Return whether any promotion or release to staging was taken up by its servers."""
    promoted, released, failed = (
        ledger.count_decisions(kind, environment="staging", version=version)
        for kind in ("promote", "release", "not_taken_up")
    )
    return promoted + released > failed


def _taken_back(
    seen: EnvironmentState,
    state: EnvironmentState,
    problem: str,
    ledger: Ledger,
    actor: str,
    timeout_s: float,
) -> CifaropsError:
    """Return to what ran before a failed promotion; returns the error to raise."""
    reason = f"version {state.version} was not taken up"
    evidence = {"problem": problem, "runs_again": seen.version}
    decision = Decision("not_taken_up", state.name, state.version, actor, reason, evidence)
    try:
        back = ledger.swap(state, replace(seen), decision)
    except ConflictError as error:
        return error
    settle(back, ledger, timeout_s=timeout_s)
    again = "nothing, as before" if seen.version is None else f"version {seen.version} again"
    return UnavailableError(
        f"Version {state.version} was not taken up: {problem} {state.name} runs {again}.",
        fix="See the server's log, and cifarops deploy status.",
    )
