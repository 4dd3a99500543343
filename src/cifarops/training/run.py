"""What a training leaves on disk: `plan.json` when it starts, `run.json` when it has ended. Free of torch.

runs/ID/plan.json                what is trained, on what, with which parameters and code
runs/ID/checkpoint.safetensors   where it stands; gone once it has ended
runs/ID/model.safetensors        the trained weights, float32
runs/ID/curve.json               the learning curve
runs/ID/run.json                 the result
runs/ID/bundle.txt               digest of the bundle that it was packaged as, last
"""

import json
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cifarops.bundle.manifest import CodeIdentity
from cifarops.config import NetworkParams, Params
from cifarops.errors import IntegrityError, UsageError
from cifarops.files import write_atomic

PLAN, RECORD, CURVE = "plan.json", "run.json", "curve.json"
BUNDLE = "bundle.txt"
WEIGHTS, CHECKPOINT = "model.safetensors", "checkpoint.safetensors"

Precision = Literal["float32", "bfloat16"]


class TrainingRecord(NetworkParams):
    """The `train` section of a training that has ended; whatever else it held is kept and not judged."""

    model_config = ConfigDict(extra="allow", frozen=True)

    seed: int


class ParamsRecord(BaseModel):
    """The parameters of a training that has ended, as they were called at its time.

    Only what packaging reads is typed, so that a run outlives changes of params.yaml's keys.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    profile: str
    train: TrainingRecord


class Training(BaseModel):
    """What is known of a training from its start on.

    Attributes:
        id: The MLflow run id.
        path: The run's directory (not stored: it is where the file lies).
        snapshot: Id of the snapshot.
        precision: Number format of the forward and backward pass, as chosen on this machine.
        threads: Threads that computed; another count rounds differently.
        processor: What computes, by its own name; another kind rounds differently.
        warm_start: Id of the run whose weights it starts from, or None.
        start_sha256: SHA-256 of those weights' file, or None.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    path: Path = Field(exclude=True)
    snapshot: str
    precision: Precision
    threads: int
    processor: str = "unknown"
    warm_start: str | None
    start_sha256: str | None = None
    code: CodeIdentity


class Plan(Training):
    """What is to be trained; with the snapshot it is everything needed to train it again."""

    params: Params

    @property
    def profile(self) -> str:
        """The parameter profile."""
        return self.params.profile

    def save(self) -> None:
        """Write `plan.json`."""
        write_atomic(self.path / PLAN, self.model_dump_json(indent=2).encode())


class Run(Training):
    """A training that has ended.

    Attributes:
        params: What it was trained with.
        valid_accuracy: Share of `valid` that the float32 network gets right, in [0, 1].
        seconds: Training time, without evaluation.
        epochs: Passes over the training images.
        images_per_second: Training speed over all steps.
    """

    params: ParamsRecord
    valid_accuracy: float
    seconds: float
    epochs: float
    images_per_second: float

    @classmethod
    def of(cls, plan: Plan, **result: float) -> "Run":
        """Return the run that `plan` has become; `result` gives the other attributes."""
        return cls.model_validate({**plan.model_dump(mode="json"), "path": plan.path, **result})

    @property
    def profile(self) -> str:
        """The parameter profile."""
        return self.params.profile

    def save(self) -> None:
        """Write `run.json`."""
        write_atomic(self.path / RECORD, self.model_dump_json(indent=2).encode())


def open_run(runs: Path, run_id: str) -> Run:
    """Open the finished run under `runs` whose id is, or uniquely begins with, `run_id`.

    Raises:
        UsageError: There is none, or several, or it has not ended.
        IntegrityError: Its record is damaged.
    """
    path = _find(runs, run_id)
    if not (path / RECORD).is_file():
        raise UsageError(
            f"Run {path.name} has not ended.", fix=f"Train it to the end: cifarops train --resume {path.name}"
        )
    return _read(Run, path / RECORD)


def open_plan(runs: Path, run_id: str) -> Plan:
    """Open the plan of a run under `runs`, ended or not, by id or a unique beginning of one.

    Raises:
        UsageError: There is none, or several, or it was made when params.yaml had other keys.
        IntegrityError: The plan is damaged.
    """
    path = _find(runs, run_id)
    recorded = _read(_RecordedPlan, path / PLAN)
    params = _as_of_today(recorded.params)
    if params is None and (path / RECORD).exists():
        raise UsageError(
            f"Run {recorded.id} is finished, and was trained when params.yaml had other keys than now.",
            fix=f"There is nothing to carry on. Package it (cifarops package {recorded.id}), or train afresh.",
        )
    if params is None:
        code = recorded.code.commit or f"v{recorded.code.version}"
        raise UsageError(
            f"Run {recorded.id} was planned when params.yaml had other keys than now.",
            fix=f"Carry it on with the code that began it (git checkout {code}), or start afresh: cifarops train.",
        )
    return Plan(**{**dict(recorded), "params": params})


def newest_run(runs: Path) -> Run:
    """Open the run under `runs` that ended last.

    Raises:
        UsageError: None has ended.
    """
    records = sorted(runs.glob(f"*/{RECORD}"), key=lambda path: path.stat().st_mtime)
    if not records:
        raise UsageError(f"There is no finished run under {runs}.", fix="Train one: cifarops train.")
    return _read(Run, records[-1])


def run_of(runs: Path, digest: str) -> Run | None:
    """Return the run that was packaged as a bundle, the newest if several gave the same one, or None."""
    records = [path for path in runs.glob(f"*/{BUNDLE}") if path.read_text() == digest]
    newest = max(records, key=lambda path: path.stat().st_mtime_ns, default=None)
    return open_run(runs, newest.parent.name) if newest else None


_Record = TypeVar("_Record", bound=Training)


class _RecordedPlan(Training):
    params: dict[str, Any]


def _as_of_today(recorded: dict[str, Any]) -> Params | None:
    """Return recorded parameters if they still say everything that a training is told, and nothing else."""
    try:
        params = Params.model_validate(recorded)
    except ValidationError:
        return None
    return params if params.model_dump(mode="json") == recorded else None


def _find(runs: Path, run_id: str) -> Path:
    matches = sorted(runs.glob(f"{run_id}*/{PLAN}")) if run_id.isalnum() else []
    if len(matches) != 1:
        raise UsageError(
            f"{len(matches) or 'No'} runs under {runs} begin with {run_id!r}.",
            fix=f"Name one of the directories under {runs}, or train a new one: cifarops train.",
        )
    return matches[0].parent


def _read(kind: type[_Record], path: Path) -> _Record:
    try:
        document = json.loads(path.read_bytes())
        return kind.model_validate({**document, "path": path.parent})
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise IntegrityError(
            f"Run {path.parent.name} is damaged: {path.name} can't be read ({error}).",
            fix=f"Delete {path.parent} and train again.",
        ) from error
