"""Traffic for whatever an environment runs: the images fit the snapshot that its version was trained on."""

from dataclasses import dataclass
from typing import Any

from cifarops.bundle.manifest import Manifest
from cifarops.bundle.store import find_bundle
from cifarops.data.snapshot import Snapshot, open_snapshot
from cifarops.deployment.environment import find_server
from cifarops.errors import UsageError
from cifarops.ledger.store import Ledger
from cifarops.progress import Progress
from cifarops.serving.client import Client
from cifarops.settings import EnvironmentName, Settings
from cifarops.simulation.stream import HeldOutStream, Stream, SyntheticStream
from cifarops.simulation.traffic import deliver_labels, send

_SEED_OFFSET = 2_000_003  # far from the seeds that snapshots are drawn with


@dataclass(frozen=True)
class Stage:
    """Where traffic is played: a server, the manifest of the bundle that its environment runs, fitting images."""

    client: Client
    manifest: Manifest
    stream: Stream


def play(
    environment: EnvironmentName,
    *,
    settings: Settings,
    requests: int,
    shift: str | None,
    severity: float,
    coverage: float,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Send requests to an environment's server, then true labels for a share `coverage` of them.

    Returns:
        What was sent and how it was answered, JSON-able.

    Raises:
        UsageError: The environment runs nothing, or there is no such shift.
        UnavailableError: No server of the environment is running.
    """
    stage = open_stage(environment, settings=settings, seed=seed)
    client, manifest = stage.client, stage.manifest
    log = send(
        client,
        stage.stream.draw(requests, shift=shift, severity=severity),
        manifest.classes,
        progress=progress,
    )
    labels = deliver_labels(client, log, coverage=coverage, seed=seed)
    return {
        "environment": environment,
        "synthetic": manifest.synthetic,
        "sent": log.sent,
        "failed": len(log.failures),
        "versions": sorted({answer.version for answer in log.answered}),
        "accuracy": log.accuracy(),
        "p50_ms": log.percentile(50),
        "p99_ms": log.percentile(99),
        "labels": labels,
    }


def open_stage(environment: EnvironmentName, *, settings: Settings, seed: int) -> Stage:
    """Find a live server of an environment, and images for it.

    Raises:
        UsageError: The environment runs nothing.
        UnavailableError: No server of the environment is running.
    """
    with Ledger(settings.ledger) as ledger:
        digest = ledger.environment(environment).digest
    if digest is None:
        raise UsageError(
            f"{environment} runs no version.",
            fix="Promote one: cifarops deploy promote VERSION --to staging.",
        )
    client = Client(find_server(environment, ledger=settings.ledger), token=settings.token)
    manifest = find_bundle(settings.bundles, digest).manifest
    return Stage(client, manifest, stream_for(open_snapshot(settings.snapshots, manifest.snapshot), seed))


def stream_for(snapshot: Snapshot, seed: int) -> Stream:
    """Return undrifted images like a snapshot's: fresh ones where it is synthetic, else those of `valid`."""
    if snapshot.is_synthetic:
        return SyntheticStream(
            classes=len(snapshot.classes),
            size=snapshot.meta.preprocessing.size,
            ambiguous=0.05,
            seed=seed + _SEED_OFFSET,
        )
    return HeldOutStream(snapshot.images("valid"), snapshot.labels("valid"), seed=seed)
