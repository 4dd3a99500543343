"""What an experiment decides: params.yaml as strict, frozen models.

`base` holds every value once; a profile overrides what differs. An unknown key is an error that names the key
and the nearest valid one.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from cifarops.errors import UsageError
from cifarops.strict import Fraction, Section, did_you_mean, explain, merged

SourceKind = Literal["cifar10", "folder", "synthetic"]
Action = Literal["fail", "drop", "warn"]
Width = Annotated[int, Field(ge=1, le=2048)]
Depth = Annotated[int, Field(ge=1, le=8)]
_TOP = ("profile", "base", "profiles")


class ValidationPolicy(Section):
    """What to do with each kind of finding: `fail` stops, `drop` leaves the image out, `warn` keeps it.

    Attributes:
        unreadable: Not an image, truncated, or more than 100 megapixels.
        too_small: Fewer than 8 pixels on a side.
        constant: All pixels equal.
        duplicate: The same pixels twice within a split.
        leak: The same pixels in train or valid and in test (dropped from train and valid).
        near_duplicate: Almost the same pixels in train or valid and in test.
        contradiction: The same pixels under two labels.
        max_drop_fraction: A larger share of dropped images stops, whatever they were dropped for.
    """

    unreadable: Action = "drop"
    too_small: Action = "drop"
    constant: Action = "drop"
    duplicate: Action = "warn"
    leak: Action = "drop"
    near_duplicate: Action = "warn"
    contradiction: Action = "drop"
    max_drop_fraction: Fraction = 0.02


class SyntheticParams(Section):
    """What the synthetic source draws.

    Attributes:
        train: Training images, from which `valid` is cut.
        test: Test images.
        ambiguous: Share of images in which two classes are drawn over each other.
    """

    train: int = Field(gt=0)
    test: int = Field(gt=0)
    ambiguous: Fraction = 0.05


class DataParams(Section):
    """From a source to a snapshot.

    Attributes:
        source: Which kind of source.
        image_size: Height and width in pixels that every image is brought to.
        valid_fraction: Share of the training images cut off as `valid`, stratified by class.
        test_fraction: Share cut off as `test` where the source has no test images of its own.
        seed: Seed of the splits and of the synthetic renderer.
        synthetic: Read by the `synthetic` source only.
        validation: The policy on findings.
    """

    source: SourceKind
    image_size: int = Field(ge=16, le=224)
    valid_fraction: float = Field(gt=0, lt=0.5)
    test_fraction: float = Field(gt=0, lt=0.5)
    seed: int = Field(ge=0)
    synthetic: SyntheticParams
    validation: ValidationPolicy = ValidationPolicy()


class NetworkParams(Section):
    """The shape of the network: with the weights, all that is needed to build a trained one again.

    Attributes:
        widths: Channels of the three stages.
        depths: Convolutions of the three stages.
    """

    widths: tuple[Width, Width, Width]
    depths: tuple[Depth, Depth, Depth]


class TrainParams(NetworkParams):
    """One training.

    Attributes:
        seed: Seed of weights, order and augmentation.
        epochs: Passes over the training images (a fraction is allowed).
        batch_size: Images a step.
        widths: Channels of the three stages.
        depths: Convolutions of the three stages.
        learning_rate: Size of the first step, relative to a filter's own size; it falls to 0 along a straight line.
        label_smoothing: Share of the target spread over all classes.
        translate: Largest random shift in pixels.
        flip: Mirror each image in every other epoch.
        precision: `auto` measures once and takes bfloat16 where it is faster.
    """

    seed: int = Field(ge=0)
    epochs: float = Field(gt=0)
    batch_size: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    label_smoothing: float = Field(ge=0, lt=1)
    translate: int = Field(ge=0, le=16)
    flip: bool = True
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


class MonitorParams(Section):
    """When an alarm is raised.

    Attributes:
        window: Newest predictions that are described, and newest labelled ones that are judged.
        drift_alpha: Chance that undrifted traffic ever raises a drift alarm, however often one looks.
        max_accuracy_drop: Labelled accuracy surely more than this under the reference raises an accuracy alarm.
        min_labels: Labels below which accuracy is not judged.
    """

    window: int = Field(gt=0)
    drift_alpha: float = Field(gt=0, lt=0.5)
    max_accuracy_drop: Fraction
    min_labels: int = Field(gt=0)


class CanaryParams(Section):
    """When a canary is promoted or rolled back; each limit is a bound that holds however often one looks.

    Attributes:
        alpha: Chance that a canary that is no worse is ever rolled back, and that one beyond the limits is ever promoted.
        max_error_rise: How much more often than the stable version a canary to promote may fail (0.01 = one in a hundred).
        max_slowdown: How many times as long as the stable version it may take.
        max_disagreement: Share of the images on which it may contradict the stable version.
        max_accuracy_drop: Accuracy on labelled requests that it may lose.
        labels: Whether a promotion waits until labels show that accuracy is within its limit.
    """

    alpha: float = Field(gt=0, lt=0.5)
    max_error_rise: float = Field(gt=0, lt=1)
    max_slowdown: float = Field(ge=1)
    max_disagreement: float = Field(gt=0, lt=1)
    max_accuracy_drop: float = Field(gt=0, lt=1)
    labels: bool


class RetrainParams(Section):
    """A warm-started training on the old images and the newest labelled ones from production.

    Attributes:
        max_images: How many of the newest labelled production images are taken.
        min_images: Fewer than this are not worth a retraining.
        recent_fraction: Share of them held out, for the gate to judge on.
        repeat: How often a new image is shown for once that an old one is.
        epochs: Passes over old and new training images.
        learning_rate: Peak learning rate.
    """

    max_images: int = Field(gt=0)
    min_images: int = Field(ge=10)
    recent_fraction: float = Field(gt=0, lt=1)
    repeat: int = Field(ge=1, le=100)
    epochs: float = Field(gt=0)
    learning_rate: float = Field(gt=0)


class Params(Section):
    """All parameters of one profile."""

    profile: str
    data: DataParams
    train: TrainParams
    monitor: MonitorParams
    canary: CanaryParams
    retrain: RetrainParams


def load_params(path: Path, profile: str | None = None, overrides: dict[str, Any] | None = None) -> Params:
    """Read one profile from params.yaml. The others must be right, too: a slip there would show on the day they are used.

    Args:
        path: The file.
        profile: Profile name; by default the file's own `profile` entry.
        overrides: Nested values laid over the profile, for example from the command line.

    Raises:
        UsageError: The file or the profile does not exist, or a key or value is wrong.
    """
    document = _read_yaml(path)
    profiles = document["profiles"]
    name = str(profile or document.get("profile"))
    if name not in profiles:
        raise UsageError(
            f"{path} has no profile {name!r}{did_you_mean(name, profiles)}",
            fix=f"Use one of: {', '.join(profiles) or 'none defined'}.",
        )
    params = _validated(document, name, overrides or {}, path)
    for other in profiles:
        _validated(document, other, {}, path)
    return params


def _validated(document: dict[str, Any], profile: str, overrides: dict[str, Any], path: Path) -> Params:
    values = merged(merged(document["base"], document["profiles"][profile] or {}), overrides)
    try:
        return Params.model_validate({"profile": profile, **values})
    except ValidationError as error:
        where = f"{path}, profile {profile}"
        raise explain(error, Params, where=where, reference="docs/reference/params.md") from error


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise UsageError(
            f"There is no parameter file {path}.",
            fix="Run from the project's root, or name the file with --params.",
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not YAML: {error}", fix="Correct the line it names.") from error
    if not isinstance(document, dict) or not all(
        isinstance(document.get(part), dict) for part in ("base", "profiles")
    ):
        raise UsageError(
            f"{path} has no mappings `base` and `profiles`.", fix="Restore it: git checkout params.yaml."
        )
    for name in document:
        if name not in _TOP:
            raise UsageError(
                f"{path}: unknown key {name!r}{did_you_mean(str(name), _TOP)}",
                fix=f"At the top stand: {', '.join(_TOP)}; everything else belongs under base or a profile.",
            )
    for name, overrides in document["profiles"].items():
        if not isinstance(overrides, dict | None):
            raise UsageError(
                f"{path}: profile {name} is {overrides!r}, not a mapping.",
                fix="Write its keys below it, indented, or leave it empty.",
            )
    return document
