"""The HTTP application of one server: routes, and how failures become problem documents."""

import html
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from cifarops.serving import protocol
from cifarops.serving.limits import LimitedApp, read_image
from cifarops.serving.metrics import CONTENT_TYPE, VERSION_KEY, MeasuredApp
from cifarops.serving.protocol import PROBLEM_TYPE, ProblemError
from cifarops.serving.router import sticky_key
from cifarops.serving.service import Service

_PROBLEM: dict[str, Any] = {
    "description": "Refused or failed",
    "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_IMAGE_BODY = {
    "required": True,
    "content": {
        **{
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/png", "image/jpeg", "image/webp")
        },
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
    },
}


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Add the schema of problems: FastAPI itself would say that they come as application/json."""
        document = super().openapi()
        document["components"]["schemas"]["Problem"] = protocol.Problem.model_json_schema()
        return document


def create_app(service: Service) -> FastAPI:
    """Make the application."""
    app = _Application(title="cifarops", version=service.code_version, docs_url=None, redoc_url=None)
    app.include_router(_prediction_routes(service))
    app.include_router(_state_routes(service))
    app.add_middleware(LimitedApp)
    app.add_middleware(MeasuredApp, metrics=service.metrics)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_failure)
    return app


def _prediction_routes(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.post(
        "/predict",
        response_model=protocol.Answer,
        responses=dict.fromkeys((400, 413, 422, 503), _PROBLEM),
        openapi_extra={"requestBody": _IMAGE_BODY},
    )
    async def predict(request: Request) -> Response:
        """Classify one image: the file as raw body, or as `file` of a multipart form."""
        content = await read_image(request)
        version, answer = await service.predict(service.assign(sticky_key(request)), content)
        request.scope[VERSION_KEY] = version
        return Response(answer, media_type="application/json")

    @routes.post("/feedback", responses=dict.fromkeys((400, 404, 409, 413, 422, 503), _PROBLEM))
    async def feedback(body: protocol.Feedback) -> protocol.FeedbackAnswer:
        """Say the true label of an earlier prediction; saying it again changes nothing."""
        return await service.feedback(body)

    return routes


def _state_routes(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.get("/v2/health/live")
    async def live() -> protocol.Live:
        """Say that the process answers."""
        return protocol.Live(live=True)

    @routes.get("/v2/health/ready", responses={503: _PROBLEM})
    async def ready() -> protocol.Ready:
        """Say whether a version is loaded."""
        service.assign()
        return protocol.Ready(ready=True)

    @routes.get("/ping", response_class=PlainTextResponse, responses={503: _PROBLEM})
    async def ping() -> str:
        """Say whether a version is loaded, the way MLflow's scoring protocol asks."""
        service.assign()
        return "\n"

    @routes.get("/version")
    async def version() -> protocol.ServerVersion:
        """Say what this server runs, and whether that is what it should run."""
        return service.version()

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Give the counters to Prometheus."""
        return Response(service.metrics.exposition(), media_type=CONTENT_TYPE)

    @routes.get("/", include_in_schema=False)
    async def home(request: Request) -> HTMLResponse:
        return HTMLResponse(_home_page(service.version(), str(request.base_url)))

    return routes


def _home_page(version: protocol.ServerVersion, url: str) -> str:
    running = f"version {version.model_version}" if version.model_version else "no version yet"
    rows: dict[str, Any] = {
        "Classify an image": f"curl --data-binary @image.png {url}predict",
        "Say the true label": f'curl --json \'{{"prediction_id": "…", "label": "…"}}\' {url}feedback',
        "What runs here": f"{url}version",
        "Counters": f"{url}metrics",
        "All routes": f"{url}openapi.json",
    }
    listed = "".join(f"<dt>{what}</dt><dd><code>{html.escape(how)}</code></dd>" for what, how in rows.items())
    title = f"cifarops {version.environment}: {running}"
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1><dl>{listed}</dl>'


async def _on_http_error(_: Request, error: Exception) -> Response:
    if isinstance(error, ProblemError):
        return error.response()
    if not isinstance(error, HTTPException):
        raise error
    kinds = {404: "not-found", 405: "method-not-allowed"}
    kind = kinds.get(error.status_code, "invalid-request")
    return ProblemError(
        error.status_code, kind, str(error.detail), headers=dict(error.headers or {})
    ).response()


async def _on_invalid(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    found = "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
    )
    return ProblemError(422, "invalid-request", found).response()


async def _on_failure(_: Request, error: Exception) -> Response:
    return ProblemError(
        500, "internal", f"{type(error).__name__}. The server's log has the details."
    ).response()
