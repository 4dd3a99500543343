"""The Open Inference Protocol's tensors: pixels in; probabilities, labels and prediction ids out.

Tensors come and go as JSON, or as bytes after the JSON (the binary tensor extension): little endian, row major, strings
each behind their length in four bytes.
"""

import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi.responses import Response
from numpy.typing import NDArray

from cifarops.ledger.records import Prediction
from cifarops.serving.documents import read_model
from cifarops.serving.oip_messages import OUTPUTS, InferRequest, RequestInput, RequestOutput
from cifarops.serving.pixels import pixels_from_json, unusable
from cifarops.serving.problems import ProblemError
from cifarops.serving.sizes import MAX_IMAGES, MAX_JSON_BYTES

MODEL = "cifarops"
INPUT = "images"
HEAD_LENGTH = "Inference-Header-Content-Length"
_CHANNELS = 3


def read_request(body: bytes, head_length: str | None, size: int) -> tuple[InferRequest, NDArray[np.uint8]]:
    """Read a request and the images that it brings.

    Args:
        body: JSON, or JSON and bytes.
        head_length: How many bytes the JSON has, as the request says it; None: all.
        size: Height and width of the images that the model takes.

    Returns:
        The request, and uint8 (N, size, size, 3) with N from 1 to `MAX_IMAGES`.

    Raises:
        ProblemError: It can't be read (400), is too large (413), asks for what is not offered (403), or brings something else
            than such a tensor (422).
    """
    head = len(body) if head_length is None else _checked_length(head_length, len(body))
    if head > MAX_JSON_BYTES:
        raise ProblemError(
            "too-large",
            f"The JSON is larger than {MAX_JSON_BYTES:,} bytes. Send fewer images, or binary tensors.",
        )
    request = read_model(InferRequest, body[:head])
    _check_offered(request)
    tensor = request.inputs[0]
    images = tensor.shape[0] if tensor.shape else 0
    shape = (images, size, size, _CHANNELS)
    if tensor.name != INPUT or tensor.datatype != "UINT8" or tuple(tensor.shape) != shape:
        raise unusable(
            f"It is {tensor.name!r} of {tensor.datatype!r} {tensor.shape}; send {INPUT!r} of 'UINT8'"
            f" [N, {size}, {size}, {_CHANNELS}]"
        )
    if not 1 <= images <= MAX_IMAGES:
        raise unusable(f"It has {images} images; send 1 to {MAX_IMAGES}")
    return request, _pixels(tensor, body[head:], shape)


def write_answer(request: InferRequest, predictions: Sequence[Prediction]) -> Response:
    """Answer a request with the tensors that it asks for."""
    columns: dict[str, NDArray[np.float32] | list[str]] = {
        "probabilities": np.stack([prediction.probabilities for prediction in predictions]),
        "label": [prediction.classes[prediction.label] for prediction in predictions],
        "prediction_id": [prediction.id for prediction in predictions],
    }
    outputs, tail = [], []
    for output in request.outputs or [RequestOutput(name=name) for name in OUTPUTS]:
        values = columns[output.name]
        described = _described(output.name, values)
        binary = output.parameters.binary_data
        if request.parameters.binary_data_output if binary is None else binary:
            tail.append(_packed(values))
            described["parameters"] = {"binary_data_size": len(tail[-1])}
        else:
            described["data"] = values.ravel().tolist() if isinstance(values, np.ndarray) else values
        outputs.append(described)
    answer = {
        "model_name": MODEL,
        "model_version": str(predictions[0].version),
        "id": request.id,
        "outputs": outputs,
    }
    head = json.dumps(answer, ensure_ascii=False, allow_nan=False).encode()
    if not tail:
        return Response(head, media_type="application/json")
    return Response(
        head + b"".join(tail), headers={HEAD_LENGTH: str(len(head))}, media_type="application/octet-stream"
    )


def _checked_length(text: str, limit: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(limit)) and int(text) <= limit):
        raise ProblemError("invalid-request", f"{HEAD_LENGTH} is {text[:40]!r}; the body has {limit} bytes.")
    return int(text)


def _check_offered(request: InferRequest) -> None:
    regions = [each.parameters.shared_memory_region for each in request.inputs]
    regions += [each.parameters.shared_memory_region for each in request.outputs]
    if any(regions):
        raise ProblemError(
            "not-offered", "No memory is shared with clients. Send the tensors in the request."
        )
    if any(each.parameters.classification for each in request.outputs):
        raise ProblemError(
            "not-offered", "There is no classification output. Ask for probabilities and label."
        )
    names = [output.name for output in request.outputs]
    if len(set(names)) < len(names) or not set(names) <= set(OUTPUTS):
        raise unusable(f"The outputs asked for are {names}; there are {', '.join(OUTPUTS)}, each once")


def _pixels(tensor: RequestInput, tail: bytes, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    size = tensor.parameters.binary_data_size
    if size is None and not tail:
        return pixels_from_json(tensor.data, shape)
    if tensor.data is not None or size != len(tail) or size != math.prod(shape):
        raise unusable(
            f"Its shape means {math.prod(shape):,} bytes, its binary_data_size is {size}, {len(tail):,} bytes follow"
            f" the JSON, and data is {'absent' if tensor.data is None else 'given too'}"
        )
    return np.frombuffer(tail, np.uint8).reshape(shape)


def _described(name: str, values: NDArray[np.float32] | list[str]) -> dict[str, Any]:
    if isinstance(values, np.ndarray):
        return {"name": name, "datatype": "FP32", "shape": list(values.shape)}
    return {"name": name, "datatype": "BYTES", "shape": [len(values)]}


def _packed(values: NDArray[np.float32] | list[str]) -> bytes:
    if isinstance(values, np.ndarray):
        return values.astype("<f4").tobytes()
    texts = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)
