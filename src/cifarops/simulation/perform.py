"""A scenario played over HTTP: requests to a real server, labels that come late or wrong, and the truth kept."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cifarops.errors import CifaropsError
from cifarops.files import write_atomic
from cifarops.progress import Progress, silent
from cifarops.serving.client import Client
from cifarops.simulation.play import Stage
from cifarops.simulation.scenario import Labels, Scenario, draw
from cifarops.simulation.traffic import Answered, TrafficLog, send

_TOGETHER = 100
_NO_CLASS = "none of the classes"


def perform(scenario: Scenario, stage: Stage, *, folder: Path, progress: Progress = silent) -> dict[str, Any]:
    """Play a scenario and keep what was true of every request.

    Args:
        scenario: What happens.
        stage: The server, and images that fit its model.
        folder: Where the truth is written: `NAME.jsonl`, a line for each answer.
        progress: Told how far it is.

    Returns:
        What was sent, answered and labelled, JSON-able.
    """
    classes = stage.manifest.classes
    log = TrafficLog()
    labellers = _Labellers(scenario.labels, classes, stage.client, scenario.seed)
    for first in range(0, scenario.requests, _TOGETHER):
        count = min(_TOGETHER, scenario.requests - first)
        images, labels = draw(scenario, first, count, stage.stream.draw, classes)
        sent = send(
            stage.client,
            (images, np.maximum(labels, 0)),
            classes,
            workers=scenario.workers_at(first),
        )
        if len(sent.answered) == count:
            sent.answered = [
                each if label >= 0 else replace(each, truth=_NO_CLASS)
                for each, label in zip(sent.answered, labels, strict=True)
            ]
        log.extend(sent)
        labellers.hear(sent.answered)
        labellers.speak(len(log.answered))
        progress(scenario.name, first + count, scenario.requests, f"{len(log.failures)} failed")
    labellers.speak(None)
    path = folder / f"{scenario.name}.jsonl"
    write_atomic(path, "".join(map(_line, log.answered)).encode())
    return {
        "scenario": scenario.name,
        "synthetic": stage.manifest.synthetic,
        "truth": scenario.truth,
        "onset": scenario.onset,
        "sent": log.sent,
        "failed": len(log.failures),
        "accuracy": log.accuracy(),
        "p99_ms": log.percentile(99),
        "labels": labellers.said,
        "labels_refused": labellers.refused,
        "ground_truth": str(path),
    }


class _Labellers:
    """Those who say what was true, some requests later; adversaries say something else."""

    def __init__(self, labels: Labels, classes: tuple[str, ...], client: Client, seed: int) -> None:
        self._labels = labels
        self._classes = classes
        self._client = client
        self._random = np.random.default_rng((seed, len(classes)))
        self._waiting: list[tuple[int, str, str]] = []
        self._heard = 0
        self.said = 0
        self.refused = 0

    def hear(self, answers: list[Answered]) -> None:
        """Choose which answers get a label, and which."""
        for each in answers:
            self._heard += 1
            wanted = each.truth in (self._labels.only or self._classes)
            if wanted and self._random.random() < self._labels.coverage:
                self._waiting.append(
                    (self._heard + self._labels.delay, each.prediction_id, self._label(each.truth))
                )

    def speak(self, until: int | None) -> None:
        """Send the labels that are due after so many answers; None: all."""
        due = [each for each in self._waiting if until is None or each[0] <= until]
        self._waiting = [each for each in self._waiting if not (until is None or each[0] <= until)]
        for _, prediction_id, label in due:
            try:
                self._client.feedback(prediction_id, label)
                self.said += 1
            except CifaropsError:
                self.refused += 1

    def _label(self, truth: str) -> str:
        if self._random.random() >= self._labels.wrong:
            return truth
        others = [name for name in self._classes if name != truth]
        return others[int(self._random.integers(len(others)))]


def _line(answer: Answered) -> str:
    document = {
        "prediction_id": answer.prediction_id,
        "at": answer.at,
        "version": answer.version,
        "label": answer.label,
        "truth": answer.truth,
    }
    return json.dumps(document, ensure_ascii=False) + "\n"
