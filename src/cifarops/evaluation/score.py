"""Running the packaged models on a snapshot: the report on `valid`, and the gate on `test` and `recent`."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from cifarops.bundle.runtime import OnnxModel
from cifarops.bundle.store import Bundle
from cifarops.config import GateParams
from cifarops.data.preprocess import fit_pixels
from cifarops.data.snapshot import Snapshot, Split
from cifarops.errors import DataError
from cifarops.evaluation.evidence import Measured, Suite, SuiteName, measure
from cifarops.evaluation.gate import Verdict, judge
from cifarops.evaluation.verdicts import write_verdict
from cifarops.ledger.records import Decision, EnvironmentState
from cifarops.ledger.store import Ledger
from cifarops.progress import Progress, silent

_THREADS = 2
_BATCH = 256
_SUITES: tuple[SuiteName, ...] = ("test", "recent")


class EvaluationReport(BaseModel):
    """A bundle measured on a split that decides nothing.

    Attributes:
        bundle: Its digest.
        snapshot: Id of the snapshot.
        synthetic: Whether the program drew the images, so that every number must say so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: str
    snapshot: str
    split: Split
    synthetic: bool
    measured: Measured

    def metrics(self) -> dict[str, float]:
        """Return the few numbers that are compared from run to run."""
        measured = self.measured
        return {"accuracy": measured.accuracy.value, "ece": measured.ece.value, "nll": measured.nll.value}


def evaluate_split(
    bundle: Bundle, snapshot: Snapshot, split: Split = "valid", progress: Progress = silent
) -> EvaluationReport:
    """Measure a bundle on a split. Never on `test`: a look at it belongs to the gate, which counts it.

    Raises:
        DataError: The split is `test`, or the classes differ.
    """
    if split == "test":
        raise DataError(
            "The test split is for the gate, which counts every look at it.",
            fix="Report on valid, or judge with: cifarops evaluate gate.",
        )
    _check_classes(f"bundle {bundle.digest[:12]}", bundle.manifest.classes, snapshot)
    measured = measure(
        answers(bundle, snapshot.images(split), f"answer {split}", progress),
        np.asarray(snapshot.labels(split)),
        temperature=bundle.manifest.temperature,
        classes=snapshot.classes,
        what=f"Bundle {bundle.digest[:12]} on {split}",
    )
    return EvaluationReport(
        bundle=bundle.digest,
        snapshot=snapshot.id,
        split=split,
        synthetic=snapshot.is_synthetic,
        measured=measured,
    )


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
    params: GateParams,
    *,
    ledger: Ledger,
    verdicts: Path,
    actor: str,
    progress: Progress = silent,
) -> Verdict:
    """Judge a bundle against the one in production, on the same images.

    Both packaged models answer `test` and, where the snapshot has it, `recent`. The look at the test split and the
    answer are recorded in the ledger, the look first, so that one that was cut short is counted too.

    Args:
        candidate: The bundle to be judged.
        incumbent: The bundle in production, or None for a first model.
        snapshot: Where the suites come from.
        params: Levels and budgets.
        ledger: Where the look and the answer are recorded.
        verdicts: Directory that the verdict is written to.
        actor: Who asks.
        progress: Told which model answers what.

    Raises:
        DataError: The class names differ, the snapshot has no test split, or a model answers NaN.
    """
    _check_classes(f"bundle {candidate.digest[:12]}", candidate.manifest.classes, snapshot)
    if incumbent is not None:
        _check_classes(
            f"the version in production ({incumbent.digest[:12]})", incumbent.manifest.classes, snapshot
        )
    if "test" not in snapshot.meta.splits:
        raise DataError(
            f"Snapshot {snapshot.id} has no test split.",
            fix="Gate on a snapshot made by cifarops data ingest.",
        )
    test_images = snapshot.meta.splits["test"].images_sha256
    looked = {"snapshot": snapshot.id, "digest": candidate.digest, "test_images": test_images}
    ledger.record(
        Decision("test_look", None, None, actor, f"The gate judges bundle {candidate.digest[:12]}.", looked)
    )
    suites = [
        _answered(name, candidate, incumbent, snapshot, progress)
        for name in _SUITES
        if name in snapshot.meta.splits
    ]
    verdict = judge(suites, params).model_copy(
        update={
            "candidate": candidate.digest,
            "incumbent": incumbent.digest if incumbent else None,
            "snapshot": snapshot.id,
            "synthetic": snapshot.is_synthetic,
            "test_looks": ledger.count_decisions("test_look"),
            "at": time.time(),
        }
    )
    path = write_verdict(verdicts, verdict)
    ledger.record(_decision(verdict, actor, path))
    return verdict


def answers(
    bundle: Bundle, images: NDArray[np.uint8], what: str, progress: Progress = silent
) -> NDArray[np.float32]:
    """Let the packaged model answer images, brought to its own size: uint8 (N, S, S, 3) to logits, float32 (N, C)."""
    model = OnnxModel(bundle, threads=_THREADS)
    logits = np.empty((len(images), len(bundle.manifest.classes)), np.float32)
    for start in range(0, len(images), _BATCH):
        stop = min(start + _BATCH, len(images))
        logits[start:stop] = model.logits(
            _fitted(np.asarray(images[start:stop]), bundle.manifest.preprocessing.size)
        )
        progress(what, stop, len(images))
    return logits


def _answered(
    name: SuiteName, candidate: Bundle, incumbent: Bundle | None, snapshot: Snapshot, progress: Progress
) -> Suite:
    images = snapshot.images(name)
    return Suite(
        name=name,
        classes=snapshot.classes,
        labels=np.asarray(snapshot.labels(name)),
        candidate_logits=answers(candidate, images, f"candidate answers {name}", progress),
        candidate_temperature=candidate.manifest.temperature,
        incumbent_logits=(
            answers(incumbent, images, f"production answers {name}", progress) if incumbent else None
        ),
        incumbent_temperature=incumbent.manifest.temperature if incumbent else 1.0,
    )


def _fitted(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if images.shape[1] == size:
        return images
    return np.stack([fit_pixels(Image.fromarray(image), size) for image in images])


def _check_classes(who: str, classes: tuple[str, ...], snapshot: Snapshot) -> None:
    if classes == snapshot.classes:
        return
    missing = [name for name in snapshot.classes if name not in classes]
    unknown = [name for name in classes if name not in snapshot.classes]
    parts = [f"it lacks {', '.join(missing)}"] if missing else []
    parts += [f"it has {', '.join(unknown)} besides"] if unknown else []
    raise DataError(
        f"The classes of {who} are not those of snapshot {snapshot.id}: "
        f"{' and '.join(parts) or 'they stand in another order'}.",
        fix="Judge on a snapshot with the same classes; a model with new classes is a first model: --against none.",
    )


def _decision(verdict: Verdict, actor: str, path: Path) -> Decision:
    evidence = {
        "candidate": verdict.candidate,
        "incumbent": verdict.incumbent,
        "snapshot": verdict.snapshot,
        "answer": verdict.answer,
        "verdict": str(path),
    }
    return Decision("gate", None, None, actor, f"{verdict.answer}: {verdict.reasons[0]}", evidence)
