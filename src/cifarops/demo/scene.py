"""What the steps of the demo share: the rooms they work in, and what happened so far."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from cifarops.budgets import Budgets
from cifarops.bundle.store import Bundle, find_bundle
from cifarops.config import Params
from cifarops.data.snapshot import Arrays, Snapshot
from cifarops.deployment.process import ServerProcess
from cifarops.deployment.rollout import promote
from cifarops.errors import UsageError
from cifarops.evaluation.gate import Verdict
from cifarops.evaluation.judgement import gate_bundle
from cifarops.ledger.store import Ledger
from cifarops.monitoring.check import MonitoringReport, check
from cifarops.packaging.export import package
from cifarops.progress import Progress
from cifarops.registry.registration import register
from cifarops.registry.versions import Registry, Version
from cifarops.serving.client import Client
from cifarops.settings import EnvironmentName, Settings
from cifarops.simulation.stream import Stream
from cifarops.simulation.traffic import TrafficLog, send, steady_traffic
from cifarops.training.interrupt import InterruptionError
from cifarops.training.run import Run, open_run
from cifarops.training.trainer import train

SHIFT = "fog"
SEVERITY = 0.7
_STEADY_IMAGES = 500


@dataclass(frozen=True)
class Phase:
    """A stretch of production traffic, for the report's timeline."""

    name: str
    log: TrafficLog


@dataclass(frozen=True)
class Check:
    """A look of the monitoring at production, after so many production requests."""

    requests: int
    report: MonitoringReport


@dataclass
class Scene:
    """The stage: the rooms, the servers, and what one step leaves for the next.

    Attributes:
        origin: Where the images come from, for the sources that need to be told.
        processes: Ends the servers when the story ends, however it ends.
        extra_logs: Traffic that is not production's, counted but not drawn.
    """

    settings: Settings
    params: Params
    budgets: Budgets
    origin: str | None
    ledger: Ledger
    registry: Registry
    progress: Progress
    processes: ExitStack
    servers: dict[EnvironmentName, ServerProcess] = field(default_factory=dict)
    phases: list[Phase] = field(default_factory=list)
    extra_logs: list[TrafficLog] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    verdicts: list[tuple[str, Verdict]] = field(default_factory=list)

    snapshot: Snapshot = field(init=False)
    stream: Stream = field(init=False)
    run: Run = field(init=False)
    bundle: Bundle = field(init=False)
    verdict: Verdict = field(init=False)
    version: Version = field(init=False)
    first_version: Version = field(init=False)

    def open_server(self, environment: EnvironmentName) -> None:
        """Start a server of an environment; production keeps images, for retraining."""
        self.servers[environment] = self.processes.enter_context(
            ServerProcess(
                environment, workspace=self.settings.workspace, keep_images=environment == "production"
            )
        )

    def client(self, environment: EnvironmentName = "production") -> Client:
        """Return a client of an environment's server."""
        return Client(self.servers[environment].url)

    def train(self, snapshot: Snapshot, params: Params, *, warm_start: Version | None = None) -> Run:
        """Train in this workspace, from scratch or from a version's weights."""
        start = (
            open_run(self.settings.runs, warm_start.run_id).path if warm_start and warm_start.run_id else None
        )
        try:
            return train(
                snapshot,
                params,
                runs=self.settings.runs,
                tracking_uri=self.settings.tracking_uri,
                cache=self.settings.cache,
                warm_start=start,
                progress=self.progress,
            )
        except InterruptionError as error:  # a demo is played again from the start, not resumed
            raise KeyboardInterrupt from error

    def package(self, run: Run, snapshot: Snapshot) -> Bundle:
        """Package a run in this workspace."""
        return package(run, snapshot, bundles=self.settings.bundles, progress=self.progress)

    def gate(self, name: str, bundle: Bundle, snapshot: Snapshot, *, against: Bundle | None) -> Verdict:
        """Judge a bundle and keep the verdict for the report."""
        verdict = gate_bundle(
            bundle,
            against,
            snapshot,
            self.budgets,
            ledger=self.ledger,
            verdicts=self.settings.verdicts,
            actor=self.settings.actor,
            progress=self.progress,
        )
        self.verdicts.append((name, verdict))
        return verdict

    def register(self, bundle: Bundle, verdict: Verdict) -> Version:
        """Make a bundle a version."""
        return register(
            bundle,
            registry=self.registry,
            ledger=self.ledger,
            runs=self.settings.runs,
            verdicts=self.settings.verdicts,
            actor=self.settings.actor,
            verdict=verdict,
        )

    def promote(self, version: Version, environment: EnvironmentName, reason: str) -> None:
        """Promote a version and wait until the live server answers with it."""
        promote(
            environment,
            version.number,
            ledger=self.ledger,
            registry=self.registry,
            actor=self.settings.actor,
            reason=reason,
        )

    def running(self) -> Bundle:
        """Return the bundle in production."""
        digest = self.ledger.environment("production").digest
        if digest is None:
            raise UsageError("Production runs nothing.", fix="Promote a version first.")
        return find_bundle(self.settings.bundles, digest)

    def traffic(self, name: str, count: int, *, shifted: bool = False) -> TrafficLog:
        """Send production requests and keep the log for the report."""
        batch = self.draw(count, shifted=shifted)
        log = send(self.client(), batch, self.snapshot.classes, progress=self.progress)
        self.phases.append(Phase(name, log))
        return log

    @contextmanager
    def under_load(self, *, shifted: bool) -> Iterator[TrafficLog]:
        """Keep requests flowing to production while the block changes it."""
        batch = self.draw(_STEADY_IMAGES, shifted=shifted)
        with steady_traffic(self.client(), batch, self.snapshot.classes) as log:
            yield log
        self.extra_logs.append(log)

    def draw(self, count: int, *, shifted: bool) -> Arrays:
        """Take images from the stream, as they were in training or as the changed world shows them."""
        return self.stream.draw(
            count, shift=SHIFT if shifted else None, severity=SEVERITY if shifted else 0.0
        )

    def check(self) -> MonitoringReport:
        """Look at production and keep what was seen for the report."""
        report = check(
            "production",
            ledger=self.ledger,
            bundles=self.settings.bundles,
            snapshots=self.settings.snapshots,
            folder=self.settings.monitoring,
            params=self.params.monitor,
            actor=self.settings.actor,
            progress=self.progress,
        )
        self.checks.append(Check(sum(len(phase.log.answered) for phase in self.phases), report))
        return report
