"""`/admin`: what may be changed over HTTP, by whoever has a token with the role `deploy`.

Only versions that the environment's key has signed can be named: those that `cifarops deploy` has let in before. Each change
is a compare-and-swap in the ledger, like those of the command; this and every other server of the environment follow it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request

from cifarops.errors import CifaropsError, ConflictError, UsageError
from cifarops.ledger.records import (
    Canary,
    Decision,
    DecisionKind,
    EnvironmentState,
    Shadow,
)
from cifarops.ledger.store import Ledger
from cifarops.serving.admin_messages import (
    LONGEST_REASON,
    Beside,
    CanaryChange,
    Change,
    EnvironmentRecord,
    VersionChange,
)
from cifarops.serving.caller import caller_of
from cifarops.serving.documents import document
from cifarops.serving.openapi import body_of
from cifarops.serving.problems import BUSY, ProblemError, problems
from cifarops.serving.router import Router
from cifarops.serving.service import Service

_Reason = Annotated[str, Query(min_length=1, max_length=LONGEST_REASON)]
_PROBLEMS = problems("invalid-request", "too-large", "changed-meanwhile", "not-possible", *BUSY)
# From what an environment runs to what it shall run, and the version that this is about.
_Transition = Callable[[EnvironmentState, Ledger], tuple[EnvironmentState, int | None]]


def admin_routes(service: Service) -> APIRouter:
    """Make the routes under `/admin`."""
    routes = APIRouter(prefix="/admin")
    router = service.router

    async def change(
        request: Request, kind: DecisionKind, reason: str, transition: _Transition
    ) -> EnvironmentRecord:
        actor = caller_of(request.scope).client
        return await asyncio.to_thread(_changed, router, kind, actor, reason, transition)

    @routes.get("", responses=problems("ledger-unavailable"))
    async def environment() -> EnvironmentRecord:
        """Say what the environment is to run."""
        return await asyncio.to_thread(_read, router)

    @routes.put("/canary", responses=_PROBLEMS, openapi_extra=body_of(CanaryChange))
    async def begin_canary(request: Request) -> EnvironmentRecord:
        """Let a version answer a share of the clients, or give the one that does another share."""
        wanted = await document(request, CanaryChange)

        def transition(seen: EnvironmentState, ledger: Ledger) -> tuple[EnvironmentState, int | None]:
            digest = _admitted(wanted.version, seen, ledger, router)
            goes_on = seen.canary is not None and seen.canary.digest == digest
            since = seen.canary.since if seen.canary and goes_on else time.time()
            canary = Canary(wanted.version, digest, wanted.percent, since)
            return replace(seen, canary=canary), wanted.version

        return await change(request, "canary", wanted.reason, transition)

    @routes.put("/shadow", responses=_PROBLEMS, openapi_extra=body_of(VersionChange))
    async def begin_shadow(request: Request) -> EnvironmentRecord:
        """Let a version answer the same requests as the stable one, to nobody."""
        wanted = await document(request, VersionChange)

        def transition(seen: EnvironmentState, ledger: Ledger) -> tuple[EnvironmentState, int | None]:
            digest = _admitted(wanted.version, seen, ledger, router)
            return replace(seen, shadow=Shadow(wanted.version, digest, time.time())), wanted.version

        return await change(request, "shadow", wanted.reason, transition)

    @routes.delete("/canary", responses=_PROBLEMS)
    async def end_canary(request: Request, reason: _Reason) -> EnvironmentRecord:
        """Let the stable version answer everyone again."""
        return await change(request, "canary_stopped", reason, _without_canary)

    @routes.delete("/shadow", responses=_PROBLEMS)
    async def end_shadow(request: Request, reason: _Reason) -> EnvironmentRecord:
        """Let the shadow answer no more."""
        return await change(request, "shadow_stopped", reason, _without_shadow)

    @routes.post("/promote", responses=_PROBLEMS, openapi_extra=body_of(VersionChange))
    async def promote(request: Request) -> EnvironmentRecord:
        """Let a version answer everyone."""
        wanted = await document(request, VersionChange)

        def transition(seen: EnvironmentState, ledger: Ledger) -> tuple[EnvironmentState, int | None]:
            digest = _admitted(wanted.version, seen, ledger, router)
            return seen.taking(wanted.version, digest), wanted.version

        return await change(request, "promote", wanted.reason, transition)

    @routes.post("/rollback", responses=_PROBLEMS, openapi_extra=body_of(Change))
    async def rollback(request: Request) -> EnvironmentRecord:
        """Let the previous version answer everyone again."""
        wanted = await document(request, Change)
        return await change(request, "rollback", wanted.reason, _previous)

    return routes


def _changed(
    router: Router, kind: DecisionKind, actor: str, reason: str, transition: _Transition
) -> EnvironmentRecord:
    try:
        with Ledger(router.ledger_path) as ledger:
            ledger.check_history()
            seen = ledger.environment(router.environment)
            wanted, version = transition(seen, ledger)
            evidence = {"from": seen.version, "over": "http"}
            state = ledger.swap(
                seen, wanted, Decision(kind, router.environment, version, actor, reason, evidence)
            )
    except ConflictError as error:
        raise ProblemError("changed-meanwhile", f"{error.message} {error.fix}") from error
    except CifaropsError as error:
        raise ProblemError("not-possible", f"{error.message} {error.fix}") from error
    return _record(state)


def _read(router: Router) -> EnvironmentRecord:
    try:
        with Ledger(router.ledger_path) as ledger:
            return _record(ledger.environment(router.environment))
    except CifaropsError as error:
        raise ProblemError("ledger-unavailable", f"{error.message} {error.fix}") from error


def _admitted(version: int, seen: EnvironmentState, ledger: Ledger, router: Router) -> str:
    """Return the digest of a version that was registered, is signed for this environment and answers."""
    if seen.version is None or seen.version == version:
        raise UsageError(
            f"{seen.name} runs version {seen.version}, so version {version} can't run beside or after it.",
            fix="See: cifarops deploy status",
        )
    registered = [each for each in ledger.decisions_about(version, None) if each.kind == "register"]
    if not registered:
        raise UsageError(f"The ledger knows no version {version}.", fix="See: cifarops registry list")
    digest = str(registered[-1].evidence["digest"])
    router.check(version, digest)
    return digest


def _without_canary(seen: EnvironmentState, _: Ledger) -> tuple[EnvironmentState, int | None]:
    if seen.canary is None:
        raise UsageError(f"{seen.name} has no canary.", fix="See: cifarops deploy status")
    return replace(seen, canary=None), seen.canary.version


def _without_shadow(seen: EnvironmentState, _: Ledger) -> tuple[EnvironmentState, int | None]:
    if seen.shadow is None:
        raise UsageError(f"{seen.name} has no shadow.", fix="See: cifarops deploy status")
    return replace(seen, shadow=None), seen.shadow.version


def _previous(seen: EnvironmentState, _: Ledger) -> tuple[EnvironmentState, int | None]:
    if seen.previous_version is None:
        raise UsageError(f"{seen.name} has no previous version.", fix="See: cifarops deploy history")
    return seen.going_back(), seen.previous_version


def _record(state: EnvironmentState) -> EnvironmentRecord:
    canary, shadow = state.canary, state.shadow
    return EnvironmentRecord(
        environment=state.name,
        generation=state.generation,
        version=state.version,
        digest=state.digest,
        previous_version=state.previous_version,
        canary=(
            Beside(version=canary.version, digest=canary.digest, percent=canary.percent) if canary else None
        ),
        shadow=Beside(version=shadow.version, digest=shadow.digest) if shadow else None,
    )
