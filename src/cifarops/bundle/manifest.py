"""What `bundle.json` says: everything needed to answer requests with the model, and where it came from."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cifarops.data.preprocess import Preprocessing
from cifarops.data.snapshot import SourceInfo

Precision = Literal["float32", "int8"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Frozen):
    """Identity of one file in the bundle."""

    sha256: str
    size: int


class Parity(_Frozen):
    """How far the packaged model's answers are from the trained network's.

    Attributes:
        images: How many images of `valid` were compared.
        max_logit_difference: Largest absolute difference of a logit.
        tolerance: What was allowed.
        equal_predictions: Share of images with the same predicted class, in [0, 1].
    """

    images: int
    max_logit_difference: float
    tolerance: float
    equal_predictions: float


class Serving(_Frozen):
    """Which of the two models answers, decided when the bundle was made, and how int8 does beside float32 on `valid`.

    A processor that doesn't multiply int8 in hardware takes float32 all the same: there int8 is slower and overflows.

    Attributes:
        precision: The model that answers, and that every number in the bundle was measured with.
        reason: Why, in one sentence.
        images: How many images of `valid` were compared.
        equal_predictions: Share of images with the same predicted class, in [0, 1].
        difference: Accuracy of int8 minus that of float32.
        difference_low: Lower bound of its 95 % interval.
        difference_high: Upper bound of it.
    """

    precision: Precision
    reason: str
    images: int
    equal_predictions: float
    difference: float
    difference_low: float
    difference_high: float


class CodeIdentity(_Frozen):
    """The code that made the bundle; `dirty` means with changes that no commit holds."""

    version: str
    commit: str | None
    dirty: bool


class Provenance(_Frozen):
    """What it takes, besides code and snapshot, to make the bundle again.

    Attributes:
        source: Where the images came from.
        params: The sections `data` and `train` of params.yaml, as they were then.
        precision: Number format of the forward and backward pass.
        threads: Threads that computed; another count rounds differently.
        processor: What computed, by its own name; another kind rounds differently.
        warm_start: SHA-256 of the weights that the training started from, or None where they were drawn.
    """

    source: SourceInfo
    params: dict[str, Any]
    precision: str
    threads: int
    processor: str
    warm_start: str | None = None


class Manifest(_Frozen):
    """The bundle's description.

    Attributes:
        classes: Class names; logit k belongs to `classes[k]`.
        temperature: Logits are divided by this before softmax (fitted on `valid`).
        metrics: Measured on `valid` with the packaged model, for example `accuracy`, `ece`.
        snapshot: Id of the snapshot it was trained on.
        synthetic: Whether that snapshot was drawn by the program, so that every number must say so.
        profile: Parameter profile of the training.
        provenance: What it takes to make it again.
        files: Every other file of the bundle by name.
    """

    schema_version: int = 1
    classes: tuple[str, ...] = Field(min_length=2)
    preprocessing: Preprocessing
    temperature: float = Field(gt=0)
    metrics: dict[str, float]
    parity: Parity
    serving: Serving
    snapshot: str
    synthetic: bool
    profile: str
    code: CodeIdentity
    provenance: Provenance
    files: dict[str, FileEntry]
