"""The HTTP application of one server: routes, and how failures become problem documents."""

import asyncio
import html
import json
import os
import time
import uuid
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from cifarops.errors import CifaropsError, ConflictError, DataError, UsageError
from cifarops.ledger.records import EnvironmentName, Prediction
from cifarops.serving import protocol
from cifarops.serving.engine import Engine
from cifarops.serving.limits import LimitedApp, read_image
from cifarops.serving.metrics import CONTENT_TYPE, VERSION_KEY, MeasuredApp, Metrics
from cifarops.serving.protocol import PROBLEM_TYPE, ProblemError
from cifarops.serving.recorder import Recorder
from cifarops.serving.router import Router

_PROBLEM = {"model": protocol.Problem, "content": {PROBLEM_TYPE: {}}}
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


@dataclass(frozen=True)
class Service:
    """What the routes work with.

    Attributes:
        pool: Where images are decoded and classified, so that the event loop stays free.
        keep_images: Whether the images themselves go to the ledger.
    """

    environment: EnvironmentName
    router: Router
    recorder: Recorder
    metrics: Metrics
    pool: Executor
    keep_images: bool
    code_version: str

    def engine(self) -> Engine:
        """Return the version that answers now.

        Raises:
            ProblemError: There is none yet (503).
        """
        route = self.router.route
        if route.engine is None:
            reason = route.error or f"Nothing was promoted to {self.environment} yet."
            raise ProblemError(
                503,
                "not-ready",
                f"{reason} Promote a version: cifarops deploy promote VERSION --to {self.environment}",
                headers={"Retry-After": "1"},
            )
        return route.engine

    def predict(self, engine: Engine, content: bytes) -> bytes:
        """Answer one image file with the JSON of an `Answer`; the prediction is on its way to the ledger."""
        outcome = engine.answer(content)
        prediction = Prediction(
            id=uuid.uuid4().hex,
            at=time.time(),
            environment=self.environment,
            version=engine.version,
            label=outcome.label,
            probabilities=outcome.probabilities,
            image=outcome.image if self.keep_images else None,
        )
        self.recorder.add(prediction)
        probabilities = outcome.probabilities.tolist()
        # Built by hand: validating our own answer would cost a good part of the time of a small model.
        answer = {
            "prediction_id": prediction.id,
            "label": engine.classes[outcome.label],
            "confidence": probabilities[outcome.label],
            "probabilities": dict(zip(engine.classes, probabilities, strict=True)),
            "model_version": engine.version,
            "environment": self.environment,
        }
        return json.dumps(answer, ensure_ascii=False).encode()

    async def feedback(self, feedback: protocol.Feedback) -> protocol.FeedbackAnswer:
        """Write the true label of a prediction to the ledger."""
        classes = self.engine().classes
        if feedback.label not in classes:
            raise ProblemError(
                422, "unknown-label", f"{feedback.label!r} is not a class. The classes: {', '.join(classes)}."
            )
        try:
            future = self.recorder.feedback(feedback.prediction_id, classes.index(feedback.label))
            status = await asyncio.wrap_future(future)
        except UsageError as error:
            raise ProblemError(404, "unknown-prediction", f"{error.message} {error.fix}") from error
        except ConflictError as error:
            detail = f"Prediction {feedback.prediction_id} was labelled differently before than {feedback.label!r}."
            raise ProblemError(409, "contradicting-label", f"{detail} {error.fix}") from error
        except CifaropsError as error:
            raise ProblemError(
                503, "ledger-unavailable", f"{error.message} {error.fix}", headers={"Retry-After": "5"}
            ) from error
        return protocol.FeedbackAnswer(
            prediction_id=feedback.prediction_id, label=feedback.label, status=status
        )

    def version(self) -> protocol.ServerVersion:
        """Say what answers, and what should."""
        route = self.router.route
        return protocol.ServerVersion(
            environment=self.environment,
            model_version=route.engine.version if route.engine else None,
            digest=route.engine.digest if route.engine else None,
            generation=route.generation,
            wanted_generation=route.wanted,
            error=route.error,
            code_version=self.code_version,
            pid=os.getpid(),
        )


def create_app(service: Service) -> FastAPI:
    """Make the application."""
    app = FastAPI(title="cifarops", version=service.code_version, docs_url=None, redoc_url=None)
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
        engine = service.engine()
        try:
            answer = await asyncio.get_running_loop().run_in_executor(
                service.pool, service.predict, engine, content
            )
        except DataError as error:
            raise ProblemError(422, "unusable-image", f"{error.message} {error.fix}") from error
        request.scope[VERSION_KEY] = engine.version
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
        service.engine()
        return protocol.Ready(ready=True)

    @routes.get("/ping", response_class=PlainTextResponse, responses={503: _PROBLEM})
    async def ping() -> str:
        """Say whether a version is loaded, the way MLflow's scoring protocol asks."""
        service.engine()
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
