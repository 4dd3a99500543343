"""What a packaged model answers to real images, clean and changed, stored once, to draw streams from."""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import ROOT
from cifarops.bundle.reference import Reference, load_reference
from cifarops.bundle.runtime import OnnxModel, softmax
from cifarops.bundle.store import Bundle, choose_bundle
from cifarops.config import load_params
from cifarops.data.broken import DEFECTS, break_images
from cifarops.data.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from cifarops.data.ingest import ingest
from cifarops.data.snapshot import open_snapshot
from cifarops.data.sources.synthetic import render
from cifarops.data.statistics import image_statistics
from cifarops.evaluation.metrics import wilson
from cifarops.evaluation.sequential import bounds
from cifarops.monitoring.detectors import Sample
from cifarops.monitoring.diagnosis import Diagnosis, diagnose
from cifarops.monitoring.estimate import Estimator
from cifarops.monitoring.martingale import Martingale
from cifarops.monitoring.suite import Suite, load_suite, measure_suite
from cifarops.monitoring.views import Views
from cifarops.packaging.export import package
from cifarops.settings import Settings
from cifarops.simulation.stream import hold_out
from cifarops.training.trainer import train

_FRACTION = 0.21  # of the training images: about 10,000
_CHANGED = 2000
_BATCH = 250
_DROP = 0.03
_LABELS = 3000
_ANSWERS = "answers.npz"


@dataclass(frozen=True)
class Answers:
    """Answers to images.

    Attributes:
        probabilities: Calibrated, float32 (N, C).
        traits: float16 (N, T).
        labels: True classes, int64 (N,).
    """

    probabilities: NDArray[np.float32]
    traits: NDArray[np.float16]
    labels: NDArray[np.int64]

    def at(self, places: NDArray[np.int64]) -> "Answers":
        """Return some of them."""
        return Answers(self.probabilities[places], self.traits[places], self.labels[places])

    def first(self, count: int) -> "Answers":
        """Return the first ones."""
        return self.at(np.arange(min(count, len(self.labels))))

    def drawn(
        self, rng: np.random.Generator, count: int, weights: NDArray[np.float64] | None = None
    ) -> "Answers":
        """Draw with replacement."""
        chances = None if weights is None else weights / weights.sum()
        return self.at(rng.choice(len(self.labels), count, p=chances))

    def mixed(self, other: "Answers", share: float, rng: np.random.Generator) -> "Answers":
        """Replace a share of them by another's."""
        taken = (rng.random(len(self.labels)) < share)[:, None]
        return Answers(
            np.where(taken, other.probabilities, self.probabilities),
            np.where(taken, other.traits, self.traits),
            np.where(taken[:, 0], other.labels, self.labels),
        )

    def then(self, other: "Answers") -> "Answers":
        """Append another's."""
        return Answers(
            np.concatenate([self.probabilities, other.probabilities]),
            np.concatenate([self.traits, other.traits]),
            np.concatenate([self.labels, other.labels]),
        )


class Stream:
    """A test with a reference of its own, as after packaging."""

    def __init__(self, world: "World", rng: np.random.Generator, alpha: float) -> None:
        drawn = world.population.drawn(rng, world.size)
        # The logarithm of a probability is a logit: its softmax is the probability again.
        logits = np.log(np.maximum(drawn.probabilities, 1e-12))
        self.reference = drawn.probabilities
        self._labels = drawn.labels
        self._views = Views(
            Reference(logits, drawn.labels, drawn.traits, world.reference.sketch), 1.0, world.classes
        )
        self._causes = world.suite.causes()
        self._sample = self._seen(drawn, world.classes)
        self._test = Martingale(
            self._sample.views,
            self._sample.predicted,
            groups=self._views.groups,
            classes=len(world.classes),
            alpha=alpha,
            seed=int(rng.integers(2**31)),
        )

    @property
    def alarm(self) -> int | None:
        """After how many images the alarm came."""
        return self._test.alarm.images if self._test.alarm else None

    def see(self, images: Answers) -> None:
        """Let the test see images."""
        self._test.see(self._views(images.probabilities, images.traits), images.probabilities.argmax(axis=1))

    def diagnose(self, history: Answers) -> Diagnosis:
        """Name the cause, as a check with these images in the ledger would."""
        window = self._seen(history, self._sample.classes).newest(4096)
        leading = int(np.argmax(self._test.alarm.shares)) if self._test.alarm else 0
        return diagnose(
            window,
            self._sample,
            self._labels,
            self._causes,
            classes_moved=leading >= len(self._views.names),
        )

    def _seen(self, images: Answers, classes: tuple[str, ...]) -> Sample:
        views = self._views(images.probabilities, images.traits)
        return Sample(
            images.probabilities.argmax(axis=1), views, self._views.names, self._views.groups, classes
        )


@dataclass(frozen=True)
class World:
    """Everything that streams are drawn from.

    Attributes:
        population: Clean images that the model was not trained on.
        changed: By `CORRUPTION/SEVERITY`, defect or `new_class`.
        size: Images of a reference.
    """

    bundle: Bundle
    reference: Reference
    suite: Suite
    population: Answers
    changed: dict[str, Answers]
    size: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names."""
        return self.bundle.manifest.classes

    @classmethod
    def open(cls, workspace: Path) -> "World":
        """Open what `prepare` has written."""
        settings = _settings(workspace)
        bundle = choose_bundle(settings.bundles, None)
        suite = load_suite(settings.monitoring, bundle)
        assert suite is not None
        reference = load_reference(bundle)
        with np.load(workspace / _ANSWERS, allow_pickle=False) as stored:
            names = sorted({name.rsplit("|", 1)[0] for name in stored.files})
            answers = {
                name: Answers(*(stored[f"{name}|{part}"] for part in ("probabilities", "traits", "labels")))
                for name in names
            }
        return cls(bundle, reference, suite, answers.pop("clean"), answers, len(reference))

    def stream(self, rng: np.random.Generator, alpha: float) -> Stream:
        """Begin a stream."""
        return Stream(self, rng, alpha)

    def truth(self, name: str) -> str:
        """Return which kind of drift a change is."""
        return (
            "new content" if name == "new_class" else "broken input" if name in DEFECTS else "covariate shift"
        )

    def estimate_errors(self) -> dict[str, dict[str, float]]:
        """Return how far off the estimates are on held-out images under every corruption and severity."""
        temperature = self.bundle.manifest.temperature
        estimator = Estimator.fitted(self.reference.probabilities(temperature), self.reference.labels)
        errors: dict[str, list[float]] = {"cott": [], "atc": [], "cbpe": []}
        for name, answers in self.changed.items():
            if self.truth(name) == "covariate shift":
                right = float((answers.probabilities.argmax(axis=1) == answers.labels).mean())
                for estimate, value in estimator(answers.probabilities).model_dump().items():
                    errors[estimate].append(abs(value - right))
        return {name: {"mean": fmean(found), "worst": max(found)} for name, found in errors.items()}

    def confirms_drop(self, seed: int) -> bool:
        """Whether 3,000 labels suffice to see that accuracy is 3 points lower."""
        rng = np.random.default_rng((5, seed))
        right = self.population.probabilities.argmax(axis=1) == self.population.labels
        known = rng.choice(right, self.size)
        seen = rng.random(_LABELS) < right.mean() - _DROP
        least = wilson(int(known.sum()), len(known)).low
        return bounds(seen.astype(float), alpha=0.01, low=0, high=1).high < least


def prepare(data: Path, workspace: Path) -> None:
    """Train, package, measure the suite and store the answers; what is there already is kept."""
    if (workspace / _ANSWERS).is_file():
        return
    settings = _settings(workspace)
    params = load_params(ROOT / "params.yaml", "fast", {"data": {"source": "folder"}})
    whole = ingest(
        params.data,
        origin=data,
        snapshots=settings.snapshots,
        downloads=settings.downloads,
        cache=settings.cache,
        cifar10_url=settings.cifar10_url,
    ).snapshot
    snapshot, held_out = hold_out(settings.snapshots, whole, fraction=_FRACTION, seed=0)
    run = train(
        snapshot, params, runs=settings.runs, tracking_uri=settings.tracking_uri, cache=settings.cache
    )
    bundle = package(run, snapshot, bundles=settings.bundles)
    measure_suite(bundle, snapshot, folder=settings.monitoring)
    images, labels = held_out.draw(int(len(whole.labels("train")) * _FRACTION))
    store_answers(bundle, images, labels, workspace)


def store_answers(
    bundle: Bundle, images: NDArray[np.uint8], labels: NDArray[np.int64], workspace: Path
) -> None:
    """Let the packaged model answer held-out images and `valid`, clean and changed, and write the answers."""
    snapshot = open_snapshot(_settings(workspace).snapshots, bundle.manifest.snapshot)
    every = np.concatenate([images, np.asarray(snapshot.images("valid"))])
    truth = np.concatenate([labels, np.asarray(snapshot.labels("valid"))])
    model, reference = OnnxModel(bundle, threads=2), load_reference(bundle)
    some, known = images[:_CHANGED], labels[:_CHANGED]
    objects = np.random.default_rng(6).integers(0, len(snapshot.classes), _CHANGED)
    wanted = {"clean": (every, truth)}
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            wanted[f"{name}/{severity}"] = (corrupt(some, name, severity=severity, seed=7), known)
    wanted |= {name: (break_images(some, name), known) for name in DEFECTS}
    wanted["new_class"] = (
        render(objects, seed=8, size=images.shape[1], shift="background", severity=1.0),
        np.full(_CHANGED, -1),
    )
    stored: dict[str, NDArray[np.generic]] = {}
    for name, (shown, labels_) in wanted.items():
        outputs = list(model.outputs_in_batches(shown, batch=_BATCH))
        logits: NDArray[np.float32] = np.concatenate([each for each, _ in outputs])
        calibrated: NDArray[np.float32] = logits / np.float32(bundle.manifest.temperature)
        sketches = reference.sketch(np.concatenate([each for _, each in outputs]))
        stored[f"{name}|probabilities"] = softmax(calibrated)
        stored[f"{name}|traits"] = np.hstack([sketches, image_statistics(shown).astype(np.float16)])
        stored[f"{name}|labels"] = labels_
    np.savez(workspace / _ANSWERS, **stored)  # type: ignore[arg-type]  # the stub wants one type


def _settings(workspace: Path) -> Settings:
    return Settings.from_environment({"CIFAROPS_WORKSPACE": str(workspace)})
