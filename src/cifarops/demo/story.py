"""The demo: the whole life of a model, told and done step by step."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from cifarops.budgets import Budgets
from cifarops.config import Params
from cifarops.demo import incidents, launch, live
from cifarops.demo.record import Summary
from cifarops.demo.report import write_report
from cifarops.demo.scene import Scene
from cifarops.errors import ConflictError
from cifarops.fresh import fresh_folder
from cifarops.ledger.store import Ledger
from cifarops.progress import Progress
from cifarops.registry.versions import Registry
from cifarops.serving.client import Client
from cifarops.settings import ENVIRONMENTS, Settings
from cifarops.story import Recorder, Step

STEPS: tuple[tuple[str, str, Callable[[Scene, Step], None]], ...] = (
    ("ingest", "Ingest the images", launch.ingest),
    ("validate", "Validate the snapshot", launch.validate),
    ("train", "Train a first model", launch.train),
    ("package", "Package it", launch.package),
    ("gate", "Judge it on the test set", launch.gate),
    ("register", "Register it", launch.register),
    ("staging", "Deploy to staging", launch.staging),
    ("smoke_test", "Smoke test on staging", launch.smoke_test),
    ("production", "Deploy to production", launch.production),
    ("requests", "Answer 2,000 requests", live.requests),
    ("late_labels", "Labels come late", live.late_labels),
    ("drift", "The world changes", live.drift),
    ("damage", "The damage gets a number", live.damage),
    ("retrain", "Retrain on the drifted mix", live.retrain),
    ("promote", "Promote the repaired model", live.promote),
    ("bad_model", "A bad model is refused", incidents.bad_model),
    ("rollback", "A treacherous model is rolled back", incidents.rollback),
)


def run_demo(
    params: Params,
    budgets: Budgets,
    *,
    settings: Settings,
    origin: str | None,
    progress: Progress,
    announce: Callable[[str], None],
) -> Summary:
    """Play the whole story in `settings.workspace`, which is emptied first.

    Args:
        params: The profile to play it with.
        budgets: What its models must reach.
        settings: The workspace it may fill.
        origin: Where the images come from, for sources that need to be told.
        progress: Told about long work.
        announce: Told one line at the beginning and the end of each step.

    Raises:
        UsageError: The workspace holds something that no demo made.
        ConflictError: Another demo runs in the workspace.
        CifaropsError: A step failed; what it had done so far stays in `summary.json`.
    """
    workspace = settings.workspace
    with (
        fresh_folder(workspace, maker="demo", before=lambda: _refuse_if_served(workspace)),
        ExitStack() as processes,
    ):
        summary = Summary(params.data.source, params.profile)
        recorder = Recorder(summary, settings.workspace / "summary.json")
        scene = Scene(
            settings=settings,
            params=params,
            budgets=budgets,
            origin=origin,
            ledger=processes.enter_context(Ledger(settings.ledger)),
            registry=Registry.of(settings),
            progress=progress,
            processes=processes,
        )
        for number, (name, title, act) in enumerate(STEPS, start=1):
            announce(f"[{number}/{len(STEPS) + 1}] {title}")
            with recorder.step(name, title) as step:
                act(scene, step)
                _count(summary, scene)
            announce(f"      {step.says} ({step.seconds:.1f} s)")
        announce(f"[{len(STEPS) + 1}/{len(STEPS) + 1}] Write the report")
        with recorder.step("report", "Write the report") as step:
            step.says = str(write_report(scene, summary, settings.workspace / "report.html"))
        summary.complete = True
        recorder.write()
        announce(f"      {step.says} ({step.seconds:.1f} s)")
    return summary


def _count(summary: Summary, scene: Scene) -> None:
    logs = [phase.log for phase in scene.phases] + scene.extra_logs
    summary.requests_sent = sum(log.sent for log in logs)
    summary.requests_failed = sum(len(log.failures) for log in logs)


def _refuse_if_served(workspace: Path) -> None:
    """Leave a workspace alone whose servers still answer, such as one that a user started after the last demo."""
    path = workspace / "ledger.db"
    if not path.exists():
        return
    with Ledger(path) as ledger:
        urls = [url for environment in ENVIRONMENTS for url in ledger.servers(environment)]
    for url in urls:
        if Client(url, timeout=2).live():
            raise ConflictError(
                f"A server of the last demo still answers at {url}.",
                fix="Stop it first, or name another place with CIFAROPS_WORKSPACE.",
            )
