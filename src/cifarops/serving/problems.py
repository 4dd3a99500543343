"""Refusals and failures as problem documents (RFC 9457), and how the OpenAPI document tells of them."""

from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException
from fastapi.responses import Response
from pydantic import BaseModel

PROBLEM_TYPE = "application/problem+json"
# The Open Inference Protocol wants the message under this name; stock clients show it.
_INFERENCE_ROUTES = "/v2"


class Problem(BaseModel):
    """A refusal or failure (RFC 9457).

    Attributes:
        type: What programs go by.
        title: The same in words.
        status: The HTTP status.
        detail: What happened and what to do.
        error: `detail` again where the Open Inference Protocol is spoken, absent elsewhere.
    """

    type: str
    title: str
    status: int
    detail: str
    error: str | None = None


@dataclass(frozen=True)
class _Kind:
    status: int
    title: str


KINDS = {
    "missing-file": _Kind(400, "No image was sent"),
    "invalid-request": _Kind(400, "The request can't be read"),
    "no-token": _Kind(401, "A token is needed"),
    "wrong-role": _Kind(403, "The token does not allow this"),
    "wrong-origin": _Kind(403, "Pages of other sites may not ask"),
    "not-offered": _Kind(403, "This server does not do that"),
    "not-found": _Kind(404, "There is nothing here"),
    "unknown-model": _Kind(404, "There is no such model"),
    "unknown-prediction": _Kind(404, "There is no such prediction"),
    "method-not-allowed": _Kind(405, "This method is not allowed here"),
    "too-slow": _Kind(408, "The request came too slowly"),
    "contradicting-label": _Kind(409, "The prediction has another label"),
    "changed-meanwhile": _Kind(409, "Someone else was faster"),
    "too-large": _Kind(413, "The body is too large"),
    "unsupported-encoding": _Kind(415, "The body is encoded"),
    "wrong-host": _Kind(421, "The server has another name"),
    "not-possible": _Kind(422, "This can't be done"),
    "unusable-image": _Kind(422, "The image can't be used"),
    "unusable-tensor": _Kind(422, "The tensor can't be used"),
    "unknown-label": _Kind(422, "There is no such class"),
    "too-many-requests": _Kind(429, "You ask too much at once"),
    "head-too-large": _Kind(431, "The head of the request is too large"),
    "client-gone": _Kind(499, "The client closed the connection"),  # never sent; the status is nginx's
    "internal": _Kind(500, "The server failed"),
    "not-ready": _Kind(503, "No model is loaded"),
    "overloaded": _Kind(503, "The server has too much to do"),
    "too-many-connections": _Kind(503, "Too many connections"),
    "tokens-unreadable": _Kind(503, "The tokens can't be read"),
    "ledger-unavailable": _Kind(503, "The ledger can't be written"),
    "deadline-exceeded": _Kind(504, "The answer took too long"),
}
# What whoever asks a model may be told when there is too much to do.
BUSY = ("unsupported-encoding", "too-many-requests", "overloaded", "deadline-exceeded")
# What may be told before any route is looked at.
GUARDED = ("no-token", "wrong-role", "wrong-origin", "wrong-host", "tokens-unreadable")
_COME_AGAIN = (429, 503)


class ProblemError(HTTPException):
    """Ends a request with a problem document.

    Args:
        kind: Last part of the problem's `type`; a key of the table of kinds, which says the status.
        detail: What happened and what to do.
        headers: Further headers of the answer.
    """

    def __init__(self, kind: str, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(KINDS[kind].status, detail, headers)
        self.kind = kind

    def response(self, path: str) -> Response:
        """Return the answer to send to whoever asked for `path`."""
        document = Problem(
            type=f"/problems/{self.kind}",
            title=KINDS[self.kind].title,
            status=self.status_code,
            detail=str(self.detail),
            error=str(self.detail) if path.startswith(_INFERENCE_ROUTES) else None,
        )
        content = document.model_dump_json(exclude_none=True)
        return Response(content, self.status_code, dict(self.headers or {}), media_type=PROBLEM_TYPE)


def problems(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Describe, for the OpenAPI document, the answers of a route that can end in problems of these kinds."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({KINDS[kind].status for kind in kinds}):
        here = [kind for kind in kinds if KINDS[kind].status == status]
        types = {"type": {"enum": [f"/problems/{kind}" for kind in here]}}
        schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, {"properties": types}]}
        found[status] = {
            "description": "; ".join(KINDS[kind].title for kind in here),
            "content": {PROBLEM_TYPE: {"schema": schema}},
        }
        if status in _COME_AGAIN:
            found[status]["headers"] = {
                "Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}
            }
    return found
