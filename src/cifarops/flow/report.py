"""What a change does to the model: the bundle of its commit against the one in production, on `valid`.

The test split is the gate's alone: a report is made for every push, and a test set looked at that often is none.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from cifarops.bundle.store import Bundle
from cifarops.data.snapshot import Snapshot
from cifarops.errors import DataError
from cifarops.evaluation.compare import Comparison, compare
from cifarops.evaluation.evidence import Measured, measure
from cifarops.evaluation.gate import Answer, Verdict
from cifarops.evaluation.metrics import Interval
from cifarops.evaluation.score import answers
from cifarops.files import write_atomic
from cifarops.progress import Progress, silent

_ALPHA = 0.05
_JUDGED = {
    "promote": "The gate has let it pass: a release takes it along.",
    "inconclusive": "The gate does not find it surely better: a release keeps production's model.",
    "reject": "The gate does not let it pass: no release can be made of this.",
}


class ModelReport(BaseModel):
    """A bundle and the one in production on the same images of `valid`.

    Attributes:
        commit: The change.
        bundle: Digest of the bundle that it makes.
        production: Digest of the bundle in production, or None where there is none.
        snapshot: Id of the snapshot whose `valid` split both answered.
        same_snapshot: Whether production was trained on it too; else it may have been trained on some of the images.
        synthetic: Whether the program drew the images.
        candidate: What the change's model reaches.
        incumbent: What production's reaches.
        comparison: The difference of both.
        verdict: The gate's answer on it beside production, or None where it was not asked yet.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str
    bundle: str
    production: str | None
    snapshot: str
    same_snapshot: bool
    synthetic: bool
    candidate: Measured
    incumbent: Measured | None
    comparison: Comparison | None
    verdict: Answer | None

    def finding(self) -> str:
        """Return the result in one sentence."""
        if self.comparison is None:
            return "Nothing is in production yet to compare with."
        if self.bundle == self.production:
            return "This change leaves the model as it is: production runs the same bundle."
        difference = self.comparison.difference
        change = f"accuracy changes by {_points(difference)}"
        if difference.low > 0:
            return f"Surely better: {change}."
        if difference.high < 0:
            return f"Surely worse: {change}."
        return f"No difference shown: {change}."

    def markdown(self) -> str:
        """Return the report as a note on a merge request."""
        drawn = " synthetic" if self.synthetic else ""
        known = (
            ""
            if self.same_snapshot
            else " Production was trained on another snapshot and may know some of them."
        )
        mine, theirs = self.candidate, self.incumbent
        header = [f"| | {self.commit[:12]} | production |", "| --- | --- | --- |"]
        return "\n".join(
            [
                "### What this change does to the model",
                "",
                f"**{self.finding()}**{self._judgement()}",
                "",
                f"On {mine.images:,}{drawn} images of `valid`, with 95 % intervals.{known} Only the gate looks at `test`.",
                "",
                *header,
                f"| accuracy | {_share(mine.accuracy)} | {_share(theirs.accuracy if theirs else None)} |",
                f"| calibration error | {_number(mine.ece)} | {_number(theirs.ece if theirs else None)} |",
                f"| negative log likelihood | {_number(mine.nll)} | {_number(theirs.nll if theirs else None)} |",
                "",
                "<details><summary>Accuracy by class</summary>",
                "",
                *header,
                *(f"| {name} | {_share(new)} | {_share(old)} |" for name, new, old in self._classes()),
                "",
                "</details>",
                "",
            ]
        )

    def write(self, folder: Path) -> None:
        """Write `report.md`, `report.json` and `metrics.txt` into a folder."""
        write_atomic(folder / "report.md", self.markdown().encode())
        write_atomic(folder / "report.json", self.model_dump_json(indent=2).encode() + b"\n")
        write_atomic(folder / "metrics.txt", self.metrics().encode())

    def _judgement(self) -> str:
        if self.verdict is None:
            return ""
        nothing_stays = self.verdict == "inconclusive" and self.production is None
        return f" {_JUDGED['reject' if nothing_stays else self.verdict]}"

    def _classes(self) -> Iterator[tuple[str, Interval | None, Interval | None]]:
        old = self.incumbent.per_class if self.incumbent else ()
        before = {each.name: each.accuracy for each in old}
        for each in self.candidate.per_class:
            yield each.name, each.accuracy, before.get(each.name)

    def metrics(self) -> str:
        """Return the numbers as GitLab's metrics report has them, which shows what the target branch had."""
        images = "synthetic" if self.synthetic else "real"
        measured = {"accuracy": self.candidate.accuracy, "ece": self.candidate.ece, "nll": self.candidate.nll}
        return "".join(
            f'{name}{{bound="{bound}",images="{images}"}} {value:.6f}\n'
            for name, interval in measured.items()
            for bound, value in interval
        )


def report(
    commit: str,
    bundle: Bundle,
    production: Bundle | None,
    snapshot: Snapshot,
    *,
    verdict: Verdict | None = None,
    progress: Progress = silent,
) -> ModelReport:
    """Measure a change's bundle on `valid`, next to the one in production.

    Args:
        commit: The change.
        bundle: What its recipe makes.
        production: What production runs, or None.
        snapshot: The one that `bundle` was trained on.
        verdict: The gate's on the two, where it was asked already.
        progress: Told which model answers.

    Raises:
        DataError: The classes differ.
    """
    if production is not None and production.manifest.classes != snapshot.classes:
        raise DataError(
            f"Production knows the classes {', '.join(production.manifest.classes)}; this change's model knows"
            f" {', '.join(snapshot.classes)}.",
            fix="Models of different classes can't be compared: judge it as a first model, --against none.",
        )
    candidate, mine = _answered("candidate", bundle, snapshot, progress)
    incumbent = comparison = None
    if production is not None:
        incumbent, theirs = _answered("production", production, snapshot, progress)
        alone, their_own = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
        comparison = compare(alone, their_own, len(mine), _ALPHA / 2)
    return ModelReport(
        commit=commit,
        bundle=bundle.digest,
        production=production.digest if production else None,
        snapshot=snapshot.id,
        same_snapshot=production is None or production.manifest.snapshot == snapshot.id,
        synthetic=snapshot.is_synthetic,
        candidate=candidate,
        incumbent=incumbent,
        comparison=comparison,
        verdict=verdict.answer if verdict else None,
    )


def _answered(
    name: str, bundle: Bundle, snapshot: Snapshot, progress: Progress
) -> tuple[Measured, NDArray[np.bool_]]:
    """Return a bundle's measurements on `valid`, and which images it gets right."""
    labels = np.asarray(snapshot.labels("valid"))
    logits = answers(bundle, snapshot.images("valid"), f"{name} answers valid", progress)
    measured = measure(
        logits,
        labels,
        temperature=bundle.manifest.temperature,
        classes=snapshot.classes,
        alpha=_ALPHA,
        what=f"Bundle {bundle.digest[:12]} on valid",
    )
    return measured, logits.argmax(axis=1) == labels


def _share(interval: Interval | None) -> str:
    return f"{interval.value:.1%} ({interval.low:.1%} to {interval.high:.1%})" if interval else "–"


def _number(interval: Interval | None) -> str:
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})" if interval else "–"


def _points(difference: Interval) -> str:
    return (
        f"{100 * difference.value:+.2f} points ({100 * difference.low:+.2f} to {100 * difference.high:+.2f})"
    )
