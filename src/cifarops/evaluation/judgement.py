"""Judging a bundle: both packaged models answer the suites, the gate judges, and the look and the answer are recorded."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarops.budgets import Budgets
from cifarops.bundle.runtime import OnnxModel
from cifarops.bundle.store import Bundle
from cifarops.data.snapshot import Arrays, Snapshot, Split
from cifarops.errors import DataError
from cifarops.evaluation.costs import measure_costs
from cifarops.evaluation.evidence import Answers, Suite, SuiteName
from cifarops.evaluation.gate import Packaged, Verdict, judge
from cifarops.evaluation.multiplicity import spent
from cifarops.evaluation.reuse import LOOK, Looks, divide
from cifarops.evaluation.robustness import Model, Robustness, measure_robustness, sample
from cifarops.evaluation.score import answers, check_classes, fitted
from cifarops.evaluation.verdicts import write_verdict
from cifarops.ledger.records import Decision, EnvironmentState
from cifarops.ledger.store import Ledger
from cifarops.progress import Progress, silent

_BATCH = 64


def incumbent_digest(candidate: str, production: EnvironmentState) -> str | None:
    """Return the digest of the bundle that a candidate is to be judged against, or None for a first model.

    That is what production runs; for a candidate that runs there already, what it replaced, so that the answer stays
    the same when it is asked for again.
    """
    return production.previous_digest if production.digest == candidate else production.digest


def gate_bundle(
    candidate: Bundle,
    incumbent: Bundle | None,
    snapshot: Snapshot,
    budgets: Budgets,
    *,
    ledger: Ledger,
    verdicts: Path,
    actor: str,
    progress: Progress = silent,
) -> Verdict:
    """Judge a bundle against the one in production, on the same images.

    Both packaged models answer `test` and, where the snapshot has it, `recent`; a sample of `test` also corrupted. Part of
    `test` is kept, and answered only when the rest has been looked at often and the candidate would be promoted. The look
    and the answer are recorded in the ledger, the look first, so that one that was cut short is counted too.

    Args:
        candidate: The bundle to be judged.
        incumbent: The bundle in production, or None for a first model.
        snapshot: Where the suites come from.
        budgets: Levels and budgets.
        ledger: Where the look and the answer are recorded.
        verdicts: Directory that the verdict is written to.
        actor: Who asks.
        progress: Told which model answers what.

    Raises:
        DataError: The class names differ, the snapshot has no test split, or a model answers NaN.
    """
    check_classes(f"bundle {candidate.digest[:12]}", candidate.manifest.classes, snapshot)
    if incumbent is not None:
        check_classes(
            f"the version in production ({incumbent.digest[:12]})", incumbent.manifest.classes, snapshot
        )
    if "test" not in snapshot.meta.splits:
        raise DataError(
            f"Snapshot {snapshot.id} has no test split.",
            fix="Gate on a snapshot made by cifarops data ingest.",
        )
    subject = _Subject(candidate, incumbent, snapshot, budgets, Looks(ledger), progress)
    present = subject.available("test", "recent")
    subject.record(present, actor)
    suites = [subject.suite(name) for name in present]
    packaged = Packaged(
        robustness=subject.robustness() if budgets.robustness.images else None,
        costs=measure_costs(candidate),
        parity=candidate.manifest.parity,
        serving=candidate.manifest.serving,
    )
    verdict = judge(suites, budgets, packaged)
    is_worn = suites[0].look > budgets.reuse.confirm_after
    if verdict.answer == "promote" and is_worn and subject.available("confirmation"):
        subject.record(["confirmation"], actor)
        verdict = judge([*suites, subject.suite("confirmation")], budgets, packaged)
    verdict = verdict.model_copy(
        update={
            "candidate": candidate.digest,
            "incumbent": incumbent.digest if incumbent else None,
            "snapshot": snapshot.id,
            "synthetic": snapshot.is_synthetic,
            "test_looks": ledger.count_decisions(LOOK),
            "at": time.time(),
        }
    )
    path = write_verdict(verdicts, verdict)
    ledger.record(_decision(verdict, actor, path))
    return verdict


@dataclass(frozen=True)
class _Subject:
    """The two bundles, and the images that they are judged on."""

    candidate: Bundle
    incumbent: Bundle | None
    snapshot: Snapshot
    budgets: Budgets
    looks: Looks
    progress: Progress

    def available(self, *names: SuiteName) -> list[SuiteName]:
        """Return which of these suites the snapshot has images for."""
        return [
            name for name in names if _split(name) in self.snapshot.meta.splits and len(self._places(name))
        ]

    def record(self, suites: Sequence[SuiteName], actor: str) -> None:
        """Write down that the images of these suites are looked at."""
        images = [self._identity(name) for name in suites]
        self.looks.record(images, self.candidate.digest, self.snapshot.id, actor)

    def suite(self, name: SuiteName) -> Suite:
        """Let both models answer a suite."""
        identity, images, labels = self._identity(name), *self._content(name)
        told = f"answers {name}"
        return Suite(
            name=name,
            classes=self.snapshot.classes,
            labels=labels,
            candidate=_answered(self.candidate, images, identity, f"candidate {told}", self.progress),
            incumbent=(
                _answered(self.incumbent, images, identity, f"production {told}", self.progress)
                if self.incumbent
                else None
            ),
            look=self.looks.place(identity, self.candidate.digest),
        )

    def robustness(self) -> Robustness:
        """Let both models answer corrupted images of `test`."""
        images, labels = self._content("test")
        chosen = sample(labels, self.budgets.robustness.images)
        bundles = [self.candidate, *([self.incumbent] if self.incumbent else [])]
        look = self.looks.place(self._identity("test"), self.candidate.digest)
        return measure_robustness(
            [_model(bundle) for bundle in bundles],
            images[chosen],
            labels[chosen],
            alpha=spent(self.budgets.alpha, look),
            progress=self.progress,
        )

    def _identity(self, name: SuiteName) -> str:
        """Return what looks at a suite's images are counted under."""
        digest = self.snapshot.meta.splits[_split(name)].images_sha256
        return f"{digest} kept" if name == "confirmation" else digest

    def _content(self, name: SuiteName) -> Arrays:
        places = self._places(name)
        split = _split(name)
        return self.snapshot.images(split)[places], np.asarray(self.snapshot.labels(split))[places]

    def _places(self, name: SuiteName) -> NDArray[np.int64]:
        labels = np.asarray(self.snapshot.labels(_split(name)))
        if name == "recent":
            return np.arange(len(labels))
        parts = divide(labels, self.budgets.reuse.kept, self._identity("test"))
        return parts.kept if name == "confirmation" else parts.seen


def _split(name: SuiteName) -> Split:
    return "test" if name == "confirmation" else name


def _answered(
    bundle: Bundle, images: NDArray[np.uint8], identity: str, what: str, progress: Progress
) -> Answers:
    return Answers(answers(bundle, images, what, progress), bundle.manifest.temperature, identity)


def _model(bundle: Bundle) -> Model:
    """Return the packaged model as a function that several threads may call at once."""
    model = OnnxModel(bundle)

    def logits(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        starts = range(0, len(images), _BATCH)
        return np.concatenate([model.logits(fitted(images[at : at + _BATCH], bundle)) for at in starts])

    return logits


def _decision(verdict: Verdict, actor: str, path: Path) -> Decision:
    evidence = {
        "candidate": verdict.candidate,
        "incumbent": verdict.incumbent,
        "snapshot": verdict.snapshot,
        "answer": verdict.answer,
        "verdict": str(path),
    }
    return Decision("gate", None, None, actor, f"{verdict.answer}: {verdict.reasons[0]}", evidence)
