"""From a snapshot and parameters to a run: tracked, checkpointed, interruptible and repeatable."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifarops.bundle.code import code_identity
from cifarops.config import Params
from cifarops.data.snapshot import Snapshot
from cifarops.errors import UsageError
from cifarops.files import sha256_file
from cifarops.machine import processor_name
from cifarops.progress import Progress, silent
from cifarops.training.checkpoint import copy_tensors, load_tensors
from cifarops.training.interrupt import InterruptionError, stop_on_signals
from cifarops.training.loop import Loop
from cifarops.training.memory import keep_freed_memory
from cifarops.training.parallel import one_thread_per_operator
from cifarops.training.precision import DTYPES, choose_precision
from cifarops.training.run import RECORD, WEIGHTS, Plan, Precision, Run, open_plan, open_run
from cifarops.training.session import Session
from cifarops.training.tracking import Tracker


def train(
    snapshot: Snapshot,
    params: Params,
    *,
    runs: Path,
    tracking_uri: str,
    cache: Path,
    warm_start: Path | None = None,
    resume: str | None = None,
    progress: Progress = silent,
) -> Run:
    """Train a network, or carry an interrupted training on.

    The same snapshot, parameters, precision and thread count give the same weights, bit for bit, interrupted or not.

    Args:
        snapshot: Trained on `train`; `valid` makes the curve; `test` is not touched.
        params: The profile; its `train` section counts.
        runs: Directory of runs.
        tracking_uri: MLflow store.
        cache: Directory of what may be deleted.
        warm_start: Directory of a run whose weights are the start, or None.
        resume: Id of a run to carry on, or a unique beginning of one; one that has ended is returned as it is.
        progress: Told about every step.

    Raises:
        DataError: The snapshot can't be trained on.
        UsageError: The parameters don't fit the snapshot, or the run to resume or start from.
        UnavailableError: The tracking store can't be opened.
        CifaropsError: The training diverged or was interrupted; the checkpoint that it names can be resumed, or the
            run that it names is complete.
    """
    plan = None if resume is None else _planned(snapshot, params, runs, resume)
    if plan is not None and (plan.path / RECORD).is_file():
        return open_run(runs, plan.id)
    keep_freed_memory()
    precision = plan.precision if plan else choose_precision(params.train.precision, cache)
    with one_thread_per_operator() as threads:
        loop = Loop(snapshot, params.train, dtype=DTYPES[precision], threads=threads)
        if warm_start is not None and plan is None:
            _load_weights(loop, warm_start / WEIGHTS)
        tracker = Tracker(tracking_uri, runs=runs)
        followed = plan or _open(snapshot, params, precision, threads, runs, tracker, warm_start)
        session = Session(followed, loop, snapshot, tracker=tracker, progress=progress)
        with stop_on_signals() as stop:
            with _tracked(tracker, followed.id):
                session.start() if plan is None else session.restore()
                run = session.run(stop)
            if stop.requested:  # too late to save anything by stopping, but whoever asked must not be ignored
                raise InterruptionError(
                    f"Interrupted when the training had just ended; run {run.id} is complete.",
                    fix=f"Go on with: cifarops package {run.id}",
                )
    return run


def _planned(snapshot: Snapshot, params: Params, runs: Path, resume: str) -> Plan:
    """Open the plan of the run to resume, and hold the caller to it."""
    plan = open_plan(runs, resume)
    if (plan.snapshot, plan.params) != (snapshot.id, params):
        raise UsageError(
            f"Run {plan.id} trains profile {plan.profile} on snapshot {plan.snapshot} with its own parameters; "
            "it can't be carried on with others.",
            fix=f"Carry it on as it is (cifarops train --resume {plan.id}), or start afresh without --resume.",
        )
    return plan


def _open(
    snapshot: Snapshot,
    params: Params,
    precision: Precision,
    threads: int,
    runs: Path,
    tracker: Tracker,
    warm_start: Path | None,
) -> Plan:
    """Open a run in the tracking store."""
    code = code_identity()
    tags = {
        "profile": params.profile,
        "snapshot": snapshot.id,
        "synthetic": str(snapshot.is_synthetic),
        "precision": precision,
        "threads": str(threads),
        "code.version": code.version,
        "code.commit": code.commit or "none",
        "code.dirty": str(code.dirty),
        "warm_start": warm_start.name if warm_start else "none",
    }
    run_id = tracker.start(params.model_dump(mode="json"), tags)
    return Plan(
        id=run_id,
        path=runs / run_id,
        snapshot=snapshot.id,
        params=params,
        precision=precision,
        threads=threads,
        processor=processor_name(),
        warm_start=warm_start.name if warm_start else None,
        start_sha256=sha256_file(warm_start / WEIGHTS) if warm_start else None,
        code=code,
    )


def _load_weights(loop: Loop, path: Path) -> None:
    weights, _ = load_tensors(path)
    copy_tensors(weights, loop.network.state_dict(), path=path)


@contextmanager
def _tracked(tracker: Tracker, run_id: str) -> Iterator[None]:
    """Close the run in the tracking store with what became of it."""
    try:
        yield
    except InterruptionError:
        tracker.end(run_id, "KILLED")
        raise
    except BaseException:
        tracker.end(run_id, "FAILED")
        raise
    tracker.end(run_id, "FINISHED")
