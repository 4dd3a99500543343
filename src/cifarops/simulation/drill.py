"""The fire drill: known changes are played against the monitoring of a bundle, and it is scored.

The packaged model answers in this process, and the same test, diagnosis and estimates look at its answers as in production;
no server and no ledger is touched.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cifarops.bundle.runtime import OnnxModel, softmax
from cifarops.config import MonitorParams
from cifarops.data.statistics import image_statistics
from cifarops.errors import UsageError
from cifarops.monitoring.detectors import Sample
from cifarops.monitoring.diagnosis import Diagnosis, diagnose
from cifarops.monitoring.estimate import Estimator
from cifarops.monitoring.martingale import Martingale
from cifarops.monitoring.stream import Yardstick
from cifarops.monitoring.suite import Suite
from cifarops.progress import Progress, silent
from cifarops.simulation.scenario import Scenario, Truth, draw, load_scenario
from cifarops.simulation.stream import Stream

_TOGETHER = 100
_THREADS = 2
_KEPT = 4096
_AFTER = 500  # images after the alarm with which the diagnosis is asked for again


class Played(BaseModel):
    """How monitoring did in one scenario.

    Attributes:
        truth: What kind of drift it was.
        onset: The request with which it began, or None.
        false_alarm: Whether an alarm came before that.
        delay: Requests from onset to alarm; None where none came.
        diagnosed: The kind that was named at the alarm.
        diagnosed_later: The kind that was named some hundred images later.
        cause: What the images were said to look like then.
        accuracy: True accuracy over the newest images at the end.
        estimated: What was estimated for them without labels.
        evidence: Fortune of the test after every hundred requests.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    requests: int
    truth: Truth
    onset: int | None
    false_alarm: bool
    delay: int | None
    diagnosed: str | None
    diagnosed_later: str | None
    cause: str | None
    accuracy: float
    estimated: float
    evidence: tuple[float, ...]


class DrillReport(BaseModel):
    """All scenarios of a drill, and the score."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str
    synthetic: bool
    alpha: float
    played: tuple[Played, ...]

    @property
    def score(self) -> dict[str, float | int | None]:
        """The few numbers that are compared from drill to drill; None where there was nothing to score."""
        drifted = [each for each in self.played if each.truth != "none"]
        found = [each for each in drifted if each.delay is not None]
        named = [each.diagnosed_later == each.truth for each in found]
        return {
            "scenarios": len(self.played),
            "false_alarms": sum(each.false_alarm for each in self.played),
            "found": len(found),
            "missed": sum(each.delay is None and not each.false_alarm for each in drifted),
            "median_delay": median(each.delay for each in found if each.delay is not None) if found else None,
            "rightly_named": fmean(named) if named else None,
            "estimate_error": fmean(abs(each.estimated - each.accuracy) for each in self.played),
        }


def load_scenarios(folder: Path) -> list[Scenario]:
    """Read every scenario of a folder, in the order of their names.

    Raises:
        UsageError: There is none, or one is wrong.
    """
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise UsageError(f"{folder} has no scenarios (*.yaml).", fix="Name another folder with --scenarios.")
    return [load_scenario(path) for path in paths]


def drill(
    yardstick: Yardstick,
    suite: Suite,
    scenarios: Sequence[Scenario],
    stream: Stream,
    params: MonitorParams,
    *,
    progress: Progress = silent,
) -> DrillReport:
    """Play scenarios against a bundle's monitoring.

    Args:
        yardstick: Of the bundle.
        suite: What the bundle's robustness suite showed.
        scenarios: What happens.
        stream: Undrifted images that the model was not trained on.
        params: As in production.
        progress: Told how far each is.
    """
    model = OnnxModel(yardstick.bundle, threads=_THREADS)
    played = tuple(
        _Player(yardstick, suite, model, stream, params).play(scenario, progress) for scenario in scenarios
    )
    return DrillReport(
        bundle=yardstick.bundle.digest,
        synthetic=yardstick.bundle.manifest.synthetic,
        alpha=params.drift_alpha,
        played=played,
    )


class _Player:
    """One scenario under way: the test, and the newest answers."""

    def __init__(
        self, yardstick: Yardstick, suite: Suite, model: OnnxModel, stream: Stream, params: MonitorParams
    ) -> None:
        self._yardstick = yardstick
        self._suite = suite
        self._model = model
        self._stream = stream
        self._params = params
        self._test = yardstick.martingale(params.drift_alpha)
        self._views = np.empty((0, len(yardstick.views.names)), np.float32)
        self._probabilities = np.empty((0, len(yardstick.sample.classes)), np.float32)
        self._right = np.empty(0, np.bool_)

    def play(self, scenario: Scenario, progress: Progress) -> Played:
        evidence: list[float] = []
        at_alarm = later = None
        for first in range(0, scenario.requests, _TOGETHER):
            count = min(_TOGETHER, scenario.requests - first)
            self._answer(*draw(scenario, first, count, self._stream.draw, self._yardstick.sample.classes))
            evidence.append(self._test.fortune)
            if self._test.alarm and at_alarm is None:
                at_alarm = later = self._diagnose(self._test)
            if self._test.alarm and first + count <= self._test.alarm.images + _AFTER:
                later = self._diagnose(self._test)
            progress(scenario.name, first + count, scenario.requests)
        alarm, onset = self._test.alarm, scenario.onset
        false_alarm = alarm is not None and (onset is None or alarm.images <= onset)
        newest = slice(-self._params.window, None)
        known = self._yardstick.reference.probabilities(self._yardstick.bundle.manifest.temperature)
        estimator = Estimator.fitted(known, self._yardstick.reference.labels)
        return Played(
            name=scenario.name,
            requests=scenario.requests,
            truth=scenario.truth,
            onset=onset,
            false_alarm=false_alarm,
            delay=alarm.images - (onset or 0) if alarm and not false_alarm else None,
            diagnosed=at_alarm.kind if at_alarm else None,
            diagnosed_later=later.kind if later else None,
            cause=later.cause if later else None,
            accuracy=float(self._right[newest].mean()),
            estimated=estimator(self._probabilities[newest], _mix(later)).cott,
            evidence=tuple(evidence),
        )

    def _answer(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        logits, features = self._model.outputs(images)
        probabilities = softmax(logits / np.float32(self._yardstick.bundle.manifest.temperature))
        statistics = image_statistics(images).astype(np.float16)
        traits = np.hstack([self._yardstick.reference.sketch(features), statistics])
        views, predicted = self._yardstick.views(probabilities, traits), probabilities.argmax(axis=1)
        self._test.see(views, predicted)
        self._views = np.concatenate([self._views, views])[-_KEPT:]
        self._probabilities = np.concatenate([self._probabilities, probabilities])[-_KEPT:]
        self._right = np.concatenate([self._right, predicted == labels])[-_KEPT:]

    def _diagnose(self, test: Martingale) -> Diagnosis:
        sample = self._yardstick.sample
        window = Sample(
            self._probabilities.argmax(axis=1), self._views, sample.names, sample.groups, sample.classes
        )
        leading = int(np.argmax(test.alarm.shares)) if test.alarm else 0
        return diagnose(
            window,
            sample,
            self._yardstick.reference.labels,
            self._suite.causes(),
            classes_moved=leading >= len(sample.names),
        )


def _mix(diagnosis: Diagnosis | None) -> NDArray[np.float64] | None:
    if diagnosis is None or diagnosis.mix is None:
        return None
    return np.array([each.value for each in diagnosis.mix.values()])
