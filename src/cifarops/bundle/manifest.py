"""What `bundle.json` says: everything needed to answer requests with the model, and where it came from."""

from pydantic import BaseModel, ConfigDict, Field

from cifarops.data.preprocess import Preprocessing


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


class CodeIdentity(_Frozen):
    """The code that made the bundle; `dirty` means with changes that no commit holds."""

    version: str
    commit: str | None
    dirty: bool


class Manifest(_Frozen):
    """The bundle's description.

    Attributes:
        classes: Class names; logit k belongs to `classes[k]`.
        temperature: Logits are divided by this before softmax (fitted on `valid`).
        metrics: Measured on `valid` with the packaged model, for example `accuracy`, `ece`.
        snapshot: Id of the snapshot it was trained on.
        synthetic: Whether that snapshot was drawn by the program, so that every number must say so.
        profile: Parameter profile of the training.
        files: Every other file of the bundle by name.
    """

    schema_version: int = 1
    classes: tuple[str, ...] = Field(min_length=2)
    preprocessing: Preprocessing
    temperature: float = Field(gt=0)
    metrics: dict[str, float]
    parity: Parity
    snapshot: str
    synthetic: bool
    profile: str
    code: CodeIdentity
    files: dict[str, FileEntry]
