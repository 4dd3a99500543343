"""What goes over the wire: requests, answers and problem documents."""

from typing import Literal

from fastapi import HTTPException
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from cifarops.ledger.records import EnvironmentName

PROBLEM_TYPE = "application/problem+json"


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


class Problem(BaseModel):
    """A refusal or failure (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


_TITLES = {
    "unusable-image": "The image can't be used",
    "too-large": "The body is too large",
    "missing-file": "No image was sent",
    "invalid-request": "The request can't be read",
    "unknown-label": "There is no such class",
    "unknown-prediction": "There is no such prediction",
    "contradicting-label": "The prediction has another label",
    "not-ready": "No model is loaded",
    "ledger-unavailable": "The ledger can't be written",
    "not-found": "There is nothing here",
    "method-not-allowed": "This method is not allowed here",
    "internal": "The server failed",
}


class ProblemError(HTTPException):
    """Ends a request with a problem document.

    Args:
        status: HTTP status.
        kind: Last part of the problem's `type`; a key of the table of titles.
        detail: What happened and what to do.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, kind: str, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.kind = kind

    def response(self) -> Response:
        """Return the answer to send."""
        document = Problem(
            type=f"/problems/{self.kind}",
            title=_TITLES[self.kind],
            status=self.status_code,
            detail=str(self.detail),
        )
        return Response(
            document.model_dump_json(), self.status_code, dict(self.headers or {}), media_type=PROBLEM_TYPE
        )
