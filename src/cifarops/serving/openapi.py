"""What FastAPI can't know by itself about the interface: bodies that are read by hand, and problem documents."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from cifarops.serving import protocol
from cifarops.serving.admin_messages import CanaryChange, Change, VersionChange
from cifarops.serving.mlflow_messages import Invocation
from cifarops.serving.oip_messages import InferRequest
from cifarops.serving.problems import GUARDED, PROBLEM_TYPE, Problem, problems

REFERENCE = "#/components/schemas/{model}"
_READ_BY_HAND = (Problem, protocol.Feedback, InferRequest, Invocation, Change, VersionChange, CanaryChange)
BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


def body_of(model: type[BaseModel], others: dict[str, Any] | None = None) -> dict[str, Any]:
    """Describe a body that a route reads by hand: JSON that fits a model, which this module lists, or others by type."""
    schema = {"$ref": REFERENCE.format(model=model.__name__)}
    content = {"application/json": {"schema": schema}, **(others or {})}
    return {"requestBody": {"required": True, "content": content}}


class DescribedApp(FastAPI):
    """An application whose OpenAPI document is exact."""

    def openapi(self) -> dict[str, Any]:
        """Return the document, made once."""
        if self.openapi_schema is not None:
            return self.openapi_schema
        described = super().openapi()
        _, read_by_hand = models_json_schema(
            [(model, "validation") for model in _READ_BY_HAND], ref_template=REFERENCE
        )
        schemas = described["components"]["schemas"]
        schemas.update(read_by_hand["$defs"])
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for path in described["paths"].values():
            for operation in path.values():
                _correct(operation["responses"])
        return described


def _correct(responses: dict[str, Any]) -> None:
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]  # FastAPI supposes that every path parameter can be refused
    for status, answer in problems("internal", *GUARDED).items():
        own = responses.setdefault(str(status), answer)
        if own is not answer:
            _types(own).extend(kind for kind in _types(answer) if kind not in _types(own))
            own["description"] += f"; {answer['description']}"


def _types(answer: dict[str, Any]) -> list[str]:
    types: list[str] = answer["content"][PROBLEM_TYPE]["schema"]["allOf"][1]["properties"]["type"]["enum"]
    return types
