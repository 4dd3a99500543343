"""Experiments: one file of overrides on each `experiment/NAME` branch, and their results side by side."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from cifarops.config import Params, load_params
from cifarops.errors import UsageError
from cifarops.evaluation.metrics import Interval, wilson
from cifarops.training.tracking import TrackedRun, Tracker

DIRECTORY = Path("experiments")
PREFIX = "experiment/"
_KEYS = {"profile", "overrides"}


@dataclass(frozen=True)
class Result:
    """What an experiment gave, by the newest run of it that ended on a snapshot.

    Attributes:
        experiment: `NAME`; for what it is compared with, the profile.
        run: MLflow run id.
        snapshot: Id of the snapshot; only results on the same one can be compared.
        synthetic: The snapshot was drawn by the program.
        commit: Code that trained it, or None.
        accuracy: Share of `valid` that the float32 network gets right, with its 95 % interval.
        images: Images in `valid`.
        seconds: Training time.
    """

    experiment: str
    run: str
    snapshot: str
    synthetic: bool
    commit: str | None
    accuracy: Interval
    images: int
    seconds: float

    def document(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {**asdict(self), "accuracy": self.accuracy.model_dump()}

    def row(self) -> tuple[Any, ...]:
        """Return what a table for people shows."""
        interval = f"{self.accuracy.value:.2%} ({self.accuracy.low:.2%} to {self.accuracy.high:.2%})"
        data = f"{self.snapshot[:12]}{' (synthetic)' if self.synthetic else ''}"
        return self.experiment, interval, self.images, data, f"{self.seconds:.0f}", self.run[:12]


def load_experiment(params: Path, name: str) -> Params:
    """Read the parameters of an experiment: `experiments/NAME.yaml` beside params.yaml, laid over its profile.

    Args:
        params: The parameter file.
        name: The experiment's name.

    Raises:
        UsageError: There is no such experiment, or a key or value is wrong.
    """
    path = params.parent / DIRECTORY / f"{name}.yaml"
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise UsageError(
            f"There is no experiment {path}.", fix=f"Begin it: cifarops flow start experiment {name}"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}", fix="Correct the line it names.") from error
    if not isinstance(document, dict) or not document.keys() <= _KEYS:
        raise UsageError(
            f"{path} must have the keys profile and overrides, and no others.",
            fix="Put what differs from the profile below overrides, as in params.yaml.",
        )
    overrides = document.get("overrides") or {}
    if not isinstance(overrides, dict):
        raise UsageError(
            f"{path}: overrides is {overrides!r}, not a mapping.",
            fix="Write its keys below it, indented, or leave it empty.",
        )
    found = load_params(params, document.get("profile"), overrides)
    return found.model_copy(update={"profile": f"{PREFIX}{name}"})


def compare(tracker: Tracker, *, snapshot: str | None = None) -> list[Result]:
    """Return the results of all experiments that were tracked, and of the plain profiles on the same snapshots.

    Args:
        tracker: Where runs are tracked.
        snapshot: Only results on the snapshot whose id begins so.

    Raises:
        UnavailableError: The tracking store does not answer.
    """
    newest: dict[tuple[str, str], TrackedRun] = {}
    for run in tracker.finished():  # the oldest first
        if run.snapshot.startswith(snapshot or ""):
            newest[run.profile, run.snapshot] = run
    tried = {run.snapshot for run in newest.values() if run.profile.startswith(PREFIX)}
    results = [_result(run) for run in newest.values() if run.snapshot in tried]
    return sorted(results, key=lambda each: (each.snapshot, -each.accuracy.value))


def _result(run: TrackedRun) -> Result:
    return Result(
        experiment=run.profile.removeprefix(PREFIX),
        run=run.id,
        snapshot=run.snapshot,
        synthetic=run.synthetic,
        commit=run.commit,
        accuracy=wilson(round(run.valid_accuracy * run.valid_images), run.valid_images),
        images=run.valid_images,
        seconds=run.seconds,
    )
