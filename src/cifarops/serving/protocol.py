"""What goes over the wire: requests and answers. How they are refused: `problems`."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cifarops.ledger.records import EnvironmentName, Prediction


class Answer(BaseModel):
    """What `/predict` answers.

    Attributes:
        prediction_id: Send it back with the true label when that is known.
        label: Name of the most probable class.
        confidence: Its calibrated probability.
        probabilities: Of every class, by name; they sum to 1.
        model_version: Registry version that computed this answer.
        environment: Where it was computed.
    """

    prediction_id: str
    label: str
    confidence: float = Field(ge=0, le=1)
    probabilities: dict[str, float]
    model_version: int
    environment: EnvironmentName


def answer_document(prediction: Prediction) -> dict[str, Any]:
    """Return an `Answer` as JSON has it, built by hand: validating our own answer would cost a good part of the time."""
    probabilities = prediction.probabilities.tolist()
    return {
        "prediction_id": prediction.id,
        "label": prediction.classes[prediction.label],
        "confidence": probabilities[prediction.label],
        "probabilities": dict(zip(prediction.classes, probabilities, strict=True)),
        "model_version": prediction.version,
        "environment": prediction.environment,
    }


class Feedback(BaseModel):
    """The true label of an earlier prediction."""

    model_config = ConfigDict(extra="forbid")

    prediction_id: str = Field(max_length=100)
    label: str = Field(max_length=200)


class FeedbackAnswer(BaseModel):
    """`known`: the same label had been given before, and nothing changed."""

    prediction_id: str
    label: str
    status: Literal["recorded", "known"]


class Live(BaseModel):
    """The process answers."""

    live: bool


class Ready(BaseModel):
    """A version is loaded."""

    ready: bool


class ServerVersion(BaseModel):
    """What this server runs, and whether that is what it should run.

    Attributes:
        environment: Which environment it serves.
        model_version: Registry version that answers, or null before the first promotion.
        digest: Digest of its bundle.
        generation: Generation of the environment that answers.
        wanted_generation: Newest generation in the ledger.
        error: Why the wanted generation is not served; null when all is well.
        canary_version: Registry version that answers a share of the clients, or null.
        canary_percent: That share.
        shadow_version: Registry version that answers the same requests, to nobody, or null.
        beside_error: Why a canary or shadow that should run does not; null when all is well.
        code_version: Version of this program.
        code_release: SHA-256 of the code release it runs from, or null.
        code_commit: Commit that release was built from, or null.
        keep_images: Whether images go to the ledger.
        pid: Process id.
    """

    environment: EnvironmentName
    model_version: int | None
    digest: str | None
    generation: int
    wanted_generation: int
    error: str | None
    canary_version: int | None
    canary_percent: float
    shadow_version: int | None
    beside_error: str | None
    code_version: str
    code_release: str | None
    code_commit: str | None
    keep_images: bool
    pid: int
