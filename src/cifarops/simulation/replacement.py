"""The replacement of what production runs, rehearsed in a scratch workspace: there and back, under traffic.

The scratch workspace has the same bundles and code releases, and a ledger, a registry and servers of its own.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cifarops.deployment.code import open_code
from cifarops.deployment.deploy import deploy_release, rollback_code, stop
from cifarops.deployment.release import Release
from cifarops.deployment.rollout import rollback
from cifarops.errors import CifaropsError, UsageError
from cifarops.ledger.records import EnvironmentState
from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry
from cifarops.settings import EnvironmentName, Settings
from cifarops.simulation.play import open_stage
from cifarops.simulation.traffic import TrafficLog, steady_traffic

_SHARED = ("bundles", "releases", "snapshots")  # content-addressed: nothing in them changes
_ENVIRONMENTS: tuple[EnvironmentName, ...] = ("staging", "production")
_IMAGES = 200
_WATCH_SECONDS = 2.0
_REASON = "rehearsal"


def rehearse(release: Release, *, settings: Settings) -> dict[str, Any]:
    """Replace what production runs by a release and go back, in a scratch workspace and under traffic.

    Returns:
        What was replaced, and how many requests were answered meanwhile, JSON-able. Where production runs no code
        release yet, there is nothing to replace: the release is started alone.

    Raises:
        CifaropsError: The replacement or the way back failed, or a request did.
    """
    registry = Registry.of(settings)
    with Ledger(settings.ledger) as ledger:
        running = _as_release(ledger.environment("production"), settings)
    with _scratch(settings) as scratch:
        scratch.take_over(release, registry)
        if running is None:
            scratch.deploy(release)
            return {"release": release.version, "replaced": None, "answered": 0, "failed": 0}
        scratch.take_over(running, registry)
        scratch.deploy(running)
        with scratch.traffic() as log:
            scratch.deploy(release)
            scratch.go_back(running, release)
    if log.failures:
        raise CifaropsError(
            f"{len(log.failures)} of {log.sent} requests failed while production was replaced and put back, the first:"
            f" {log.failures[0]}",
            fix="Don't release it. Try it yourself: cifarops simulate replacement release.json",
        )
    replaced = {"bundle": running.bundle, "code": running.code}
    return {"release": release.version, "replaced": replaced, "answered": log.sent, "failed": 0}


@dataclass(frozen=True)
class _Scratch:
    """A workspace that is thrown away."""

    settings: Settings
    ledger: Ledger
    registry: Registry

    def take_over(self, release: Release, registry: Registry) -> None:
        """Register a release's model here, with the verdict that it got there."""
        version = registry.by_digest(release.bundle)
        if version is None:
            raise UsageError(
                f"The registry has no model {release.bundle[:12]}.", fix="See: cifarops registry list"
            )
        verdict = registry.verdict(version.number)
        self.registry.register(registry.bundle(version), run_id=None, verdict=verdict)

    def deploy(self, release: Release) -> None:
        """Let staging run a release, without which production takes none, and then production."""
        for environment in _ENVIRONMENTS:
            deploy_release(
                release,
                environment,
                ledger=self.ledger,
                registry=self.registry,
                settings=self.settings,
                reason=_REASON,
                watch_s=_WATCH_SECONDS,
            )

    def go_back(self, running: Release, release: Release) -> None:
        """Put back in production what a release has changed."""
        if release.code != running.code:
            rollback_code(
                "production",
                ledger=self.ledger,
                settings=self.settings,
                reason=_REASON,
                watch_s=_WATCH_SECONDS,
            )
        if release.bundle != running.bundle:
            rollback(
                "production",
                ledger=self.ledger,
                registry=self.registry,
                actor=self.settings.actor,
                reason=_REASON,
            )

    @contextmanager
    def traffic(self) -> Iterator[TrafficLog]:
        """Ask production all the time while the block runs."""
        stage = open_stage("production", settings=self.settings, seed=0)
        with steady_traffic(stage.client, stage.stream.draw(_IMAGES), stage.manifest.classes) as log:
            yield log


@contextmanager
def _scratch(settings: Settings) -> Iterator[_Scratch]:
    with tempfile.TemporaryDirectory(prefix="cifarops-") as folder:
        workspace = Path(folder)
        for name in _SHARED:
            (workspace / name).symlink_to(settings.workspace / name)
        own = replace(
            settings,
            workspace=workspace,
            tracking_uri=f"sqlite:///{workspace / 'mlflow.db'}",
            signing_key=None,  # a rehearsal signs with keys of its own, which nobody else trusts
            trusted=None,
        )
        with Ledger(own.ledger) as ledger:
            try:
                yield _Scratch(own, ledger, Registry.of(own))
            finally:
                for environment in _ENVIRONMENTS:
                    stop(environment, ledger=ledger, settings=own, reason=_REASON)


def _as_release(state: EnvironmentState, settings: Settings) -> Release | None:
    """Return what an environment runs as a release; None where it runs no code release."""
    if state.code is None or state.digest is None:
        return None
    code = open_code(settings.releases / state.code)
    return Release(
        version="0.0.0",
        commit=code.commit,
        bundle=state.digest,
        code=state.code,
        made_at=code.record.built_at,
        made_by=settings.actor,
    )
