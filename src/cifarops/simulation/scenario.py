"""Scenarios as files: what happens to the images, their labels and the load, from which request on."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from cifarops.data.broken import DEFECTS, break_images
from cifarops.data.corruptions import CORRUPTIONS, SHIFTS, corrupt
from cifarops.data.snapshot import Arrays
from cifarops.data.sources.synthetic import render
from cifarops.errors import UsageError
from cifarops.strict import Fraction, Section, did_you_mean, explain

Truth = Literal["none", "covariate shift", "label shift", "broken input", "new content"]
CAMERA, NEW_CLASS, MIX = "camera", "new_class", "mix"
_WARMER = np.array([1.15, 1.0, 0.82], np.float32)
_OBJECTS = 10

Draw = Callable[[int], Arrays]


class Change(Section):
    """Something that happens to the images.

    Attributes:
        what: A corruption or shift of `data.corruptions`, a defect of `data.broken`, `camera` (another one: warmer, softer,
            noisier), `new_class` (drawn objects of no class) or `mix` (other shares of the classes).
        severity: Of a corruption or shift.
        start: The request with which it begins, counted from 0.
        end: The request with which it is over; None for never.
        ramp: Requests over which the share grows from 0.
        share: Share of the images that it befalls.
        mix: For `mix`: how often each named class comes, relative to before (0.5: half as often).
    """

    what: str
    severity: int = Field(default=3, ge=1, le=5)
    start: int = Field(default=0, ge=0)
    end: int | None = Field(default=None, gt=0)
    ramp: int = Field(default=0, ge=0)
    share: Fraction = 1.0
    mix: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        known = [*CORRUPTIONS, *SHIFTS, *DEFECTS, CAMERA, NEW_CLASS, MIX]
        if self.what not in known:
            raise ValueError(f"there is no change {self.what!r}{did_you_mean(self.what, known)}")
        if (self.what == MIX) != bool(self.mix):
            raise ValueError("`mix` names classes if, and only if, `what` is mix")
        if any(weight < 0 for weight in self.mix.values()):
            raise ValueError("no class comes less often than never")
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"it ends at {self.end}, before it starts at {self.start}")
        return self

    @property
    def truth(self) -> Truth:
        """Which kind of drift it is."""
        if self.what in DEFECTS:
            return "broken input"
        kinds: dict[str, Truth] = {NEW_CLASS: "new content", MIX: "label shift"}
        return kinds.get(self.what, "covariate shift")

    def shares(self, requests: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return with which chance it befalls each request, by number."""
        grown = np.clip((requests - self.start + 1) / (self.ramp + 1), 0, 1)
        on = (requests >= self.start) & (requests < (self.end or np.inf))
        return np.where(on, grown * self.share, 0.0)


class Labels(Section):
    """When true labels come, and from whom.

    Attributes:
        coverage: Share of the answers that get a label.
        delay: Requests by which a label comes later than the answer.
        only: Only images of these classes are labelled; empty: of all.
        wrong: Share of labels that are wrong, as of adversaries.
    """

    coverage: Fraction = 0.0
    delay: int = Field(default=0, ge=0)
    only: tuple[str, ...] = ()
    wrong: Fraction = 0.0


class Spike(Section):
    """A time of more load: so many requests under way at once, from `start` to before `end`."""

    start: int = Field(ge=0)
    end: int = Field(gt=0)
    workers: int = Field(ge=1, le=256)


class Scenario(Section):
    """Traffic with a known truth.

    Attributes:
        name: What it is called.
        requests: How many.
        seed: Of everything that is drawn.
        workers: Requests under way at once.
        changes: What happens to the images, one after the other where several befall one.
        labels: When labels come.
        spikes: When there is more load.
    """

    name: str
    requests: int = Field(ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0)
    workers: int = Field(default=4, ge=1, le=256)
    changes: tuple[Change, ...] = ()
    labels: Labels = Labels()
    spikes: tuple[Spike, ...] = ()

    @property
    def onset(self) -> int | None:
        """The first request that a change befalls, or None."""
        return min((change.start for change in self.changes), default=None)

    @property
    def truth(self) -> Truth:
        """The kind of the change that begins first."""
        return min(self.changes, key=lambda change: change.start).truth if self.changes else "none"

    def workers_at(self, request: int) -> int:
        """Return how many requests are under way at once around a request."""
        return max(
            [self.workers, *(each.workers for each in self.spikes if each.start <= request < each.end)]
        )


def load_scenario(path: Path) -> Scenario:
    """Read a scenario from a YAML file.

    Raises:
        UsageError: There is no such file, it is not YAML, or a key or value is wrong.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UsageError(
            f"The scenario {path} can't be read: {error.strerror}.", fix="List some: ls scenarios/"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}", fix="Correct the line it names.") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path} is no mapping.", fix="Begin with `name:` and `requests:`.")
    try:
        return Scenario.model_validate({"name": path.stem, **document})
    except ValidationError as error:
        raise explain(error, Scenario, where=str(path), reference="docs/how-to/simulate.md") from error


def draw(scenario: Scenario, first: int, count: int, source: Draw, classes: tuple[str, ...]) -> Arrays:
    """Draw the images and true labels of some requests as the scenario wants them.

    Args:
        scenario: What happens.
        first: Number of the first request.
        count: How many.
        source: Gives the next undrifted images and labels.
        classes: Class names.

    Returns:
        uint8 (N, S, S, 3) and int64 (N,); an object of no class has label −1.

    Raises:
        UsageError: A class is named that there is not.
    """
    rng = np.random.default_rng((scenario.seed, first))
    requests = np.arange(first, first + count)
    images, labels = _mixed(scenario, requests, source, classes, rng)
    for change in scenario.changes:
        hit = np.flatnonzero(rng.random(count) < change.shares(requests))
        if change.what == MIX or not len(hit):
            continue
        seed = int(rng.integers(2**31))
        images[hit] = _changed(images[hit], change, seed)
        if change.what == NEW_CLASS:
            labels[hit] = -1
    return images, labels


def _mixed(
    scenario: Scenario,
    requests: NDArray[np.int64],
    source: Draw,
    classes: tuple[str, ...],
    rng: np.random.Generator,
) -> Arrays:
    """Draw images, and draw again for those that the mix of classes rejects."""
    weights = np.ones((len(requests), len(classes)))
    for change in scenario.changes:
        for name, weight in change.mix.items():
            if name not in classes:
                raise UsageError(
                    f"Scenario {scenario.name}: there is no class {name!r}{did_you_mean(name, classes)}.",
                    fix=f"The classes: {', '.join(classes)}.",
                )
            weights[:, classes.index(name)] *= np.where(change.shares(requests) > 0, weight, 1)
    drawn, truth = source(len(requests))
    images, labels = drawn.copy(), truth.copy()
    open_ = np.arange(len(requests))
    while True:
        accepted = weights[open_, labels[open_]] / weights[open_].max(axis=1)
        open_ = open_[rng.random(len(open_)) >= accepted]
        if not len(open_):
            return images, labels
        images[open_], labels[open_] = source(len(open_))


def _changed(images: NDArray[np.uint8], change: Change, seed: int) -> NDArray[np.uint8]:
    if change.what in DEFECTS:
        return break_images(images, change.what)
    if change.what == NEW_CLASS:
        objects = np.random.default_rng(seed).integers(0, _OBJECTS, len(images))
        return render(objects, seed=seed, size=images.shape[1], shift="background", severity=1.0)
    if change.what == CAMERA:
        warmer = (images * _WARMER).clip(0, 255).astype(np.uint8)
        soft = corrupt(warmer, "defocus_blur", severity=2, seed=seed)
        return corrupt(soft, "gaussian_noise", severity=1, seed=seed)
    return corrupt(images, change.what, severity=change.severity, seed=seed)
