"""One training under way: its steps, its checkpoints, its learning curve and its end."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cifarops.data.snapshot import Snapshot
from cifarops.files import write_atomic
from cifarops.progress import Progress
from cifarops.training.checkpoint import copy_tensors, load_tensors, save_tensors
from cifarops.training.interrupt import InterruptionError, Stop
from cifarops.training.loop import DivergenceError, Loop
from cifarops.training.run import CHECKPOINT, CURVE, WEIGHTS, Plan, Run
from cifarops.training.tracking import Tracker


@dataclass(frozen=True)
class Point:
    """One point of the learning curve, at the end of an epoch."""

    epoch: int
    step: int
    train_loss: float
    valid_accuracy: float
    images_per_second: float


@dataclass
class _Standing:
    """Where a training stands; stored in every checkpoint."""

    step: int = 0
    seconds: float = 0.0
    epoch_loss: float = 0.0
    epoch_seconds: float = 0.0
    curve: list[Point] = field(default_factory=list)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "_Standing":
        return cls(**{**document, "curve": [Point(**point) for point in document["curve"]]})


class Session:
    """Takes the steps of a loop and keeps them safe.

    Args:
        plan: What is trained; its directory takes the files.
        loop: The steps.
        snapshot: Whose `valid` split makes the curve.
        tracker: Told about every epoch.
        progress: Told about every step.
    """

    def __init__(
        self, plan: Plan, loop: Loop, snapshot: Snapshot, *, tracker: Tracker, progress: Progress
    ) -> None:
        self._plan = plan
        self._loop = loop
        self._tracker = tracker
        self._progress = progress
        self._images, self._labels = snapshot.images("valid"), snapshot.labels("valid")
        self._at = _Standing()

    def start(self) -> None:
        """Make the run visible, with a checkpoint to resume from its first moment on."""
        self._save()
        self._plan.save()

    def restore(self) -> None:
        """Go back to where the checkpoint stands.

        Raises:
            IntegrityError: It is damaged.
            UsageError: It is not there, or belongs to another network.
        """
        tensors, description = load_tensors(self._checkpoint)
        copy_tensors(tensors, self._loop.state(), path=self._checkpoint)
        self._at = _Standing.from_json(description)

    def run(self, stop: Stop) -> Run:
        """Take all steps that are left, and write the result.

        Raises:
            DivergenceError: Something is not finite.
            InterruptionError: `stop` was requested.
        """
        while self._at.step < self._loop.steps:
            self._take_step()
            if self._at.step % self._loop.steps_per_epoch == 0 or self._at.step == self._loop.steps:
                self._end_epoch()
            elif stop.requested:
                self._save()
            if stop.requested and self._at.step < self._loop.steps:
                raise InterruptionError(
                    f"Training was interrupted after step {self._at.step} of {self._loop.steps}.",
                    fix=f"Carry on with: cifarops train --resume {self._plan.id}",
                )
            self._progress("training", self._at.step, self._loop.steps, self._note())
        return self._finish()

    @property
    def _checkpoint(self) -> Path:
        return self._plan.path / CHECKPOINT

    def _take_step(self) -> None:
        start = time.perf_counter()
        try:
            loss = self._loop.step(self._at.step)
        except DivergenceError as error:
            raise self._explain(error) from error
        elapsed = time.perf_counter() - start
        self._at.step += 1
        self._at.seconds += elapsed
        self._at.epoch_seconds += elapsed
        self._at.epoch_loss += loss

    def _end_epoch(self) -> None:
        before = self._at.curve[-1].step if self._at.curve else 0
        steps = self._at.step - before
        point = Point(
            epoch=len(self._at.curve) + 1,
            step=self._at.step,
            train_loss=self._at.epoch_loss / steps,
            valid_accuracy=self._loop.accuracy(self._images, self._labels),
            images_per_second=steps * self._plan.params.train.batch_size / self._at.epoch_seconds,
        )
        self._at.curve.append(point)
        self._at.epoch_loss = self._at.epoch_seconds = 0.0
        self._save()
        self._tracker.log(self._plan.id, asdict(point), epoch=point.epoch)

    def _save(self) -> None:
        try:
            save_tensors(self._checkpoint, self._loop.state(), asdict(self._at))
        except DivergenceError as error:
            raise self._explain(error) from error

    def _finish(self) -> Run:
        save_tensors(self._plan.path / WEIGHTS, self._loop.network.state_dict(), {"run": self._plan.id})
        curve = self._plan.path / CURVE
        write_atomic(curve, json.dumps([asdict(point) for point in self._at.curve], indent=2).encode())
        images = self._loop.steps * self._plan.params.train.batch_size
        run = Run.of(
            self._plan,
            valid_accuracy=self._at.curve[-1].valid_accuracy,
            seconds=self._at.seconds,
            epochs=self._plan.params.train.epochs,
            images_per_second=images / self._at.seconds,
        )
        final = {
            "final_valid_accuracy": run.valid_accuracy,
            "training_seconds": run.seconds,
            "valid_images": len(self._labels),
        }
        self._tracker.log(run.id, final, epoch=len(self._at.curve))
        self._tracker.attach(run.id, curve)
        run.save()
        self._checkpoint.unlink(missing_ok=True)
        return run

    def _note(self) -> str:
        epochs = -(-self._loop.steps // self._loop.steps_per_epoch)
        epoch = min(len(self._at.curve) + 1, epochs)
        speed = self._at.step * self._plan.params.train.batch_size / self._at.seconds
        valid = f"valid {100 * self._at.curve[-1].valid_accuracy:.1f} % · " if self._at.curve else ""
        return f"epoch {epoch}/{epochs} · {valid}{speed:,.0f} img/s"

    def _explain(self, error: DivergenceError) -> DivergenceError:
        step = load_tensors(self._checkpoint)[1]["step"]
        return DivergenceError(
            f"Training diverged: {error.message} The last good checkpoint, after step {step}, is {self._checkpoint}.",
            fix="Lower train.learning_rate in params.yaml (0.12 is usual) and train again.",
        )
