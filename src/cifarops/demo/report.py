"""The demo's report: one self-contained page with plots and sample images."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from cifarops.bundle.runtime import OnnxModel
from cifarops.bundle.store import Bundle, find_bundle
from cifarops.demo import plots
from cifarops.demo.record import Summary
from cifarops.demo.scene import Scene
from cifarops.evaluation.metrics import Interval
from cifarops.files import write_atomic

_SAMPLES = 10


def write_report(scene: Scene, summary: Summary, path: Path) -> Path:
    """Write the page and return its path."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cifarops.demo", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    _, first = scene.verdicts[0]
    test = next(suite for suite in first.evidence if suite.name == "test").candidate
    page = environment.get_template("report.html").render(
        summary=summary,
        synthetic=scene.snapshot.is_synthetic,
        made=time.strftime("%Y-%m-%d %H:%M"),
        workspace=scene.settings.workspace,
        headline=list(_headline(scene)),
        timeline=plots.timeline(scene.phases, scene.checks),
        verdicts=list(_verdict_rows(scene)),
        samples=list(_sample_groups(scene)),
        per_class=plots.bars(
            [(each.name, each.accuracy) for each in test.per_class if each.accuracy], "right, 95 % interval"
        ),
        confusion=plots.confusion(np.array(test.confusion), scene.snapshot.classes),
        times=plots.step_times(
            [step.title for step in summary.steps], [step.seconds for step in summary.steps]
        ),
    )
    write_atomic(path, page.encode())
    return path


def _headline(scene: Scene) -> Iterator[tuple[str, str]]:
    _, first = scene.verdicts[0]
    yield "right on the test set, first version", f"{first.evidence[0].candidate.accuracy.value:.1%}"
    for name, words in (("drifted", "right in the fog, before"), ("repaired", "right in the fog, after")):
        answers = [answer for phase in scene.phases if phase.name == name for answer in phase.log.answered]
        yield words, f"{sum(answer.label == answer.truth for answer in answers) / max(len(answers), 1):.1%}"


def _verdict_rows(scene: Scene) -> Iterator[dict[str, str]]:
    for name, verdict in scene.verdicts:
        for suite in verdict.evidence:
            difference = suite.comparison.difference if suite.comparison else None
            yield {
                "name": name,
                "answer": verdict.answer,
                "suite": f"{suite.candidate.images:,} of `{suite.name}`",
                "candidate": _percent(suite.candidate.accuracy),
                "incumbent": _percent(suite.incumbent.accuracy) if suite.incumbent else "–",
                "difference": _points(difference) if difference else "–",
            }


def _percent(interval: Interval) -> str:
    return f"{interval.value:.1%} ({interval.low:.1%} to {interval.high:.1%})"


def _points(interval: Interval) -> str:
    return f"{interval.value * 100:+.1f} points ({interval.low * 100:+.1f} to {interval.high * 100:+.1f})"


def _sample_groups(scene: Scene) -> Iterator[dict[str, Any]]:
    first = find_bundle(scene.settings.bundles, scene.first_version.digest)
    repaired = scene.running()
    yield _samples("As in training, read by the first version", scene, first, shifted=False)
    yield _samples("The world has changed, read by the first version", scene, first, shifted=True)
    yield _samples("The world has changed, read by the repaired version", scene, repaired, shifted=True)


def _samples(title: str, scene: Scene, bundle: Bundle, *, shifted: bool) -> dict[str, Any]:
    images, labels = scene.draw(_SAMPLES, shifted=shifted)
    classes = scene.snapshot.classes
    predicted = OnnxModel(bundle).logits(images).argmax(axis=1)
    return {
        "title": title,
        "images": [
            {"src": plots.png_data(image), "truth": classes[truth], "label": classes[label]}
            for image, truth, label in zip(images, labels, predicted, strict=True)
        ],
    }
