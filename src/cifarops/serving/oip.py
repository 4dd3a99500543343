"""The routes of the Open Inference Protocol, version 2 (the one that Triton, KServe and their clients speak)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response

from cifarops.ledger.records import Prediction
from cifarops.serving import protocol
from cifarops.serving.caller import caller_of
from cifarops.serving.engine import Engine, Outcome
from cifarops.serving.metrics import VERSION_KEY
from cifarops.serving.oip_messages import (
    InferAnswer,
    InferRequest,
    ModelConfig,
    ModelMetadata,
    ModelReady,
    ServerMetadata,
    TensorConfig,
    TensorMetadata,
)
from cifarops.serving.oip_tensors import HEAD_LENGTH, INPUT, MODEL, read_request, write_answer
from cifarops.serving.openapi import BINARY, body_of
from cifarops.serving.problems import BUSY, ProblemError, problems
from cifarops.serving.router import Assignment, sticky_key
from cifarops.serving.service import Service
from cifarops.serving.sizes import MAX_IMAGES

_Name = Annotated[str, Path(json_schema_extra={"const": MODEL})]
_PLATFORM = "onnx_onnxruntime"
_EXTENSIONS = ["binary_tensor_data", "model_configuration"]
# What Triton has and we refuse: clients would reach into this machine, or decide what runs here.
_NOT_OFFERED = {
    "/systemsharedmemory": "No memory is shared with clients. Send the tensors in the request.",
    "/cudasharedmemory": "No memory is shared with clients. Send the tensors in the request.",
    "/repository": "Clients neither list, load nor unload models. Promote one: cifarops deploy promote VERSION",
}
_HEAD_LENGTH_IN = {
    "name": HEAD_LENGTH,
    "in": "header",
    "required": False,
    "description": "How many bytes of the body are JSON, where bytes of tensors follow",
    "schema": {"type": "integer", "minimum": 0},
}
_INFERRED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The tensors asked for",
        "model": InferAnswer,
        "content": BINARY,
        "headers": {
            HEAD_LENGTH: {
                "description": "As in the request; absent where everything is JSON",
                "schema": {"type": "integer", "minimum": 0},
            }
        },
    }
}


def inference_routes(service: Service) -> APIRouter:
    """Make the routes under `/v2`."""
    routes = APIRouter(prefix="/v2")

    @routes.get("")
    async def server() -> ServerMetadata:
        """Say which program this is."""
        return ServerMetadata(name="cifarops", version=service.code_version, extensions=_EXTENSIONS)

    @routes.get("/health/live")
    async def live() -> protocol.Live:
        """Say that the process answers."""
        return protocol.Live(live=True)

    @routes.get("/health/ready", responses=problems("not-ready"))
    async def ready() -> protocol.Ready:
        """Say whether a version is loaded."""
        service.assign()
        return protocol.Ready(ready=True)

    async def current(request: Request, name: _Name) -> Assignment:
        if name != MODEL:
            raise ProblemError("unknown-model", f"There is no model {name[:100]!r}; there is {MODEL!r}.")
        return service.assign(sticky_key(request))

    async def pinned(request: Request, name: _Name, version: str) -> Assignment:
        await current(request, name)
        engines = service.router.route.engines()
        for engine in engines:
            if version == str(engine.version):
                return Assignment(engine)
        loaded = ", ".join(str(engine.version) for engine in engines)
        raise ProblemError("unknown-model", f"Version {version[:100]!r} is not loaded. Loaded: {loaded}.")

    _add_model_routes(routes, "/models/{name}", service, current)
    _add_model_routes(routes, "/models/{name}/versions/{version}", service, pinned)
    for path, why in _NOT_OFFERED.items():
        _add_refusal(routes, path, why)
    return routes


def _add_model_routes(
    routes: APIRouter, path: str, service: Service, chosen: Callable[..., Awaitable[Assignment]]
) -> None:
    """Add the routes of one model, or of one version of it."""
    found = Annotated[Assignment, Depends(chosen)]
    refusals = problems("unknown-model", "not-ready")

    @routes.get(path, responses=refusals)
    async def model(assignment: found) -> ModelMetadata:
        """Describe the model's tensors."""
        return _metadata(assignment.engine, service.router.route.engines())

    @routes.get(f"{path}/ready", responses=refusals)
    async def model_ready(assignment: found) -> ModelReady:
        """Say whether a version of the model is loaded."""
        return ModelReady(name=MODEL, ready=True)

    @routes.get(f"{path}/config", responses=refusals)
    async def config(assignment: found) -> ModelConfig:
        """Describe the model as the model configuration extension does."""
        return _config(_metadata(assignment.engine, [assignment.engine]))

    @routes.post(
        f"{path}/infer",
        responses=_INFERRED
        | problems(
            "invalid-request",
            "not-offered",
            "unknown-model",
            "too-large",
            "unusable-tensor",
            "not-ready",
            *BUSY,
        ),
        openapi_extra=body_of(InferRequest, BINARY) | {"parameters": [_HEAD_LENGTH_IN]},
    )
    async def infer(request: Request, assignment: found) -> Response:
        """Classify images that come as a tensor."""
        body = await request.body()
        inference = _Inference(body, request.headers.get(HEAD_LENGTH))
        version, answer = await service.answer(
            caller_of(request.scope), assignment, inference.ask, inference.write, size=len(body)
        )
        request.scope[VERSION_KEY] = version
        return answer


class _Inference:
    """One request, read and answered off the event loop."""

    def __init__(self, body: bytes, head_length: str | None) -> None:
        self._body = body
        self._head_length = head_length

    def ask(self, engine: Engine) -> list[Outcome]:
        self._request, images = read_request(self._body, self._head_length, engine.size)
        return engine.answer_pixels(images)

    def write(self, predictions: Sequence[Prediction]) -> Response:
        return write_answer(self._request, predictions)


def _add_refusal(routes: APIRouter, path: str, why: str) -> None:
    @routes.api_route(path + "/{rest:path}", methods=["GET", "POST"], include_in_schema=False)
    async def refuse() -> None:
        raise ProblemError("not-offered", why)


def _metadata(engine: Engine, loaded: Sequence[Engine]) -> ModelMetadata:
    return ModelMetadata(
        name=MODEL,
        versions=[str(each.version) for each in loaded],
        platform=_PLATFORM,
        inputs=[TensorMetadata(name=INPUT, datatype="UINT8", shape=[-1, engine.size, engine.size, 3])],
        outputs=[
            TensorMetadata(name="probabilities", datatype="FP32", shape=[-1, len(engine.classes)]),
            TensorMetadata(name="label", datatype="BYTES", shape=[-1]),
            TensorMetadata(name="prediction_id", datatype="BYTES", shape=[-1]),
        ],
    )


def _config(metadata: ModelMetadata) -> ModelConfig:
    return ModelConfig(
        name=metadata.name,
        platform=metadata.platform,
        backend="onnxruntime",
        max_batch_size=MAX_IMAGES,
        input=[_tensor_config(tensor) for tensor in metadata.inputs],
        output=[_tensor_config(tensor) for tensor in metadata.outputs],
    )


def _tensor_config(tensor: TensorMetadata) -> TensorConfig:
    kind = "STRING" if tensor.datatype == "BYTES" else tensor.datatype
    # Of a string for each image nothing is left without the first dimension; the extension then says 1.
    return TensorConfig(name=tensor.name, data_type=f"TYPE_{kind}", dims=tensor.shape[1:] or [1])
