"""MLflow's scoring protocol: `/invocations`, in the JSON forms that MLflow's own server takes."""

import base64
import binascii
import json
from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray

from cifarops.data.preprocess import MIN_SIDE, decode
from cifarops.ledger.records import Prediction
from cifarops.serving import protocol
from cifarops.serving.caller import caller_of
from cifarops.serving.documents import read_model
from cifarops.serving.metrics import VERSION_KEY
from cifarops.serving.mlflow_messages import Invocation, InvocationAnswer
from cifarops.serving.openapi import body_of
from cifarops.serving.pixels import pixels_from_json, unusable
from cifarops.serving.problems import BUSY, problems
from cifarops.serving.router import sticky_key
from cifarops.serving.service import Service
from cifarops.serving.sizes import MAX_PIXELS

_CHANNELS = 3


def invocation_routes(service: Service) -> APIRouter:
    """Make the route of MLflow's scoring protocol that classifies."""
    routes = APIRouter()

    @routes.post(
        "/invocations",
        response_model=InvocationAnswer,
        responses=problems(
            "invalid-request", "too-large", "unusable-image", "unusable-tensor", "not-ready", *BUSY
        ),
        openapi_extra=body_of(Invocation),
    )
    async def invocations(request: Request) -> Response:
        """Classify images that come as MLflow's scoring server takes them."""
        body = await request.body()
        assignment = service.assign(sticky_key(request))
        version, answer = await service.answer(
            caller_of(request.scope),
            assignment,
            lambda engine: engine.answer_pixels(read_images(body, engine.size)),
            _written,
            size=len(body),
        )
        request.scope[VERSION_KEY] = version
        return Response(answer, media_type="application/json")

    return routes


def read_images(body: bytes, size: int) -> NDArray[np.uint8]:
    """Read the images that an invocation brings: uint8 (N, size, size, 3).

    Raises:
        ProblemError: It can't be read (400), or brings something else than images (422).
        DataError: A file is no image, is damaged or too small, or together they have more than `MAX_PIXELS` pixels.
    """
    images, left = [], MAX_PIXELS
    for given in read_model(Invocation, body).images():
        if isinstance(given, str):
            decoded = decode(_file(given), size, max_pixels=left, min_side=MIN_SIDE)
            left -= decoded.width * decoded.height
            images.append(decoded.pixels)
        else:
            images.append(pixels_from_json(given, (size, size, _CHANNELS)))
    return np.stack(images)


def _file(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: something else than ASCII
        raise unusable("An image is neither a file in base64 nor nested lists of pixels") from error


def _written(predictions: Sequence[Prediction]) -> bytes:
    answers = [protocol.answer_document(prediction) for prediction in predictions]
    return json.dumps({"predictions": answers}, ensure_ascii=False, allow_nan=False).encode()
