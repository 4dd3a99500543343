"""The HTTP application of one server: routes, and how failures become problem documents."""

import html
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cifarops.serving import protocol
from cifarops.serving.admin import admin_routes
from cifarops.serving.caller import caller_of
from cifarops.serving.documents import document
from cifarops.serving.limits import LimitedApp, read_image
from cifarops.serving.metrics import CONTENT_TYPE, VERSION_KEY
from cifarops.serving.mlflow_protocol import invocation_routes
from cifarops.serving.oip import inference_routes
from cifarops.serving.openapi import BINARY, DescribedApp, body_of
from cifarops.serving.problems import BUSY, ProblemError, problems
from cifarops.serving.router import sticky_key
from cifarops.serving.service import Service

_IMAGE_BODY = {
    "required": True,
    "content": {
        **{
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/png", "image/jpeg", "image/webp")
        },
        **BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
    },
}


_KIND_OF_STATUS = {404: "not-found", 405: "method-not-allowed"}


def create_app(service: Service) -> FastAPI:
    """Make the application."""
    app = DescribedApp(title="cifarops", version=service.code_version, docs_url=None, redoc_url=None)
    app.include_router(_prediction_routes(service))
    app.include_router(_feedback_routes(service))
    app.include_router(inference_routes(service))
    app.include_router(invocation_routes(service))
    app.include_router(_state_routes(service))
    app.include_router(admin_routes(service))
    app.add_middleware(LimitedApp, held_bytes=service.bodies_bytes, metrics=service.metrics)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_failure)
    return app


class _RawRoute(APIRoute):
    """A route that reads its request and writes its answer by itself: FastAPI only describes it.

    Working out what to validate and to convert, where there is nothing of it, costs as much as a tenth of a small model.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers."""
        return self.endpoint


def _prediction_routes(service: Service) -> APIRouter:
    routes = APIRouter(route_class=_RawRoute)

    @routes.post(
        "/predict",
        response_model=protocol.Answer,
        responses=problems(
            "missing-file", "invalid-request", "too-large", "unusable-image", "not-ready", *BUSY
        ),
        openapi_extra={"requestBody": _IMAGE_BODY},
    )
    async def predict(request: Request) -> Response:
        """Classify one image: the file as raw body, or as `file` of a multipart form."""
        content = await read_image(request)
        assignment = service.assign(sticky_key(request))
        version, answer = await service.predict(caller_of(request.scope), assignment, content)
        request.scope[VERSION_KEY] = version
        return Response(answer, media_type="application/json")

    return routes


def _feedback_routes(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.post(
        "/feedback",
        responses=problems(
            "invalid-request",
            "unknown-prediction",
            "contradicting-label",
            "too-large",
            "unknown-label",
            "ledger-unavailable",
            "deadline-exceeded",
        ),
        openapi_extra=body_of(protocol.Feedback),
    )
    async def feedback(request: Request) -> protocol.FeedbackAnswer:
        """Say the true label of an earlier prediction; saying it again changes nothing."""
        return await service.feedback(await document(request, protocol.Feedback), caller_of(request.scope))

    return routes


def _state_routes(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.get("/ping", response_class=PlainTextResponse, responses=problems("not-ready"))
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


async def _on_http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    if not isinstance(error, ProblemError):
        kind = _KIND_OF_STATUS.get(error.status_code, "invalid-request")
        error = ProblemError(kind, str(error.detail), headers=dict(error.headers or {}))
    return error.response(request.url.path)


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return ProblemError("client-gone", "The client left before its request was read.").response(
        request.url.path
    )


async def _on_invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    found = "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
    )
    return ProblemError("invalid-request", found).response(request.url.path)


async def _on_failure(request: Request, error: Exception) -> Response:
    detail = f"{type(error).__name__}. The server's log has the details."
    return ProblemError("internal", detail).response(request.url.path)
