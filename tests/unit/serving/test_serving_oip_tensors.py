import json
import struct
import time
from typing import Any

import numpy as np
import pytest

from cifarops.ledger.records import Prediction
from cifarops.serving.oip_messages import InferRequest
from cifarops.serving.oip_tensors import HEAD_LENGTH, read_request, write_answer
from cifarops.serving.problems import ProblemError
from cifarops.serving.sizes import MAX_IMAGES, MAX_JSON_BYTES

S = 2
PIXELS = list(range(S * S * 3))


def request(**changes: Any) -> dict[str, Any]:
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, S, S, 3], "data": PIXELS}
    return {"inputs": [{key: value for key, value in {**tensor, **changes}.items() if value is not None}]}


def binary(tail: bytes, *, size: int | None = None, **changes: Any) -> tuple[bytes, str]:
    described = request(
        parameters={"binary_data_size": len(tail) if size is None else size}, data=None, **changes
    )
    head = json.dumps(described).encode()
    return head + tail, str(len(head))


def refused(body: bytes | dict[str, Any], head_length: str | None = None) -> tuple[str, str]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ProblemError) as caught:
        read_request(content, head_length, S)
    return caught.value.kind, str(caught.value.detail)


@pytest.mark.parametrize(
    "shape",
    [
        [],
        [0, S, S, 3],
        [-1, S, S, 3],
        [2**63, S, S, 3],
        [2**62, 2**62, 4, 3],
        [1, S, S],
        [1, S, S, 4],
        [1, S * S * 3],
        [-1, -S, S, 3],
        [1, S, S, 3, 1],
        [MAX_IMAGES + 1, S, S, 3],
    ],
)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_shape_that_is_not_the_models_is_refused(shape: list[int], as_bytes: bool) -> None:
    sent = binary(bytes(PIXELS), shape=shape) if as_bytes else (request(shape=shape), None)
    assert refused(*sent)[0] == "unusable-tensor"


@pytest.mark.parametrize("shape", [["1", S, S, 3], [1.0, S, S, 3], [True, S, S, 3], "1", None, [1] * 100])
def test_a_shape_that_is_no_shape_is_refused(shape: Any) -> None:
    assert refused(request(shape=shape))[0] == "invalid-request"


@pytest.mark.parametrize(
    "data",
    [
        [],
        PIXELS[1:],
        [*PIXELS, 0],
        [PIXELS],
        [[PIXELS[:6], PIXELS[6:]]],
        [[[[1, 2, 3]] * S, [[1, 2, 3], [1, 2]]]],
        [[[[1, 2, 3]] * S, {"0": [1, 2, 3], "1": [1, 2, 3]}]],
        [*PIXELS[1:], 256],
        [*PIXELS[1:], -1],
        [*PIXELS[1:], 2**70],
        [*PIXELS[1:], 0.5],
        [*PIXELS[1:], 1.0],
        [*PIXELS[1:], True],
        [*PIXELS[1:], "1"],
        [*PIXELS[1:], None],
        [*PIXELS[1:], [1]],
    ],
)
def test_data_that_are_not_as_many_pixels_are_refused(data: list[Any]) -> None:
    assert refused(request(data=data))[0] == "unusable-tensor"


@pytest.mark.parametrize("token", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_numbers_that_are_none_are_refused(token: bytes) -> None:
    body = json.dumps(request()).encode().replace(b"[0, 1,", b"[" + token + b", 1,")
    assert refused(body)[0] == "invalid-request"


@pytest.mark.parametrize("datatype", ["FP32", "INT8", "BYTES", "uint8", "", "UINT8\0"])
def test_another_datatype_is_refused(datatype: str) -> None:
    kind, detail = refused(request(datatype=datatype))
    assert kind == "unusable-tensor"
    assert f"[N, {S}, {S}, 3]" in detail


@pytest.mark.parametrize(
    "head_length", ["", "-1", "+5", "5.0", "0x5", "٣", "1e2", "99999999", "9" * 5000, " 1", "1,1"]
)
def test_a_header_length_that_is_no_length_within_the_body_is_refused(head_length: str) -> None:
    body, _ = binary(bytes(PIXELS))
    assert refused(body, head_length)[0] == "invalid-request"


@pytest.mark.parametrize("off", [-200, -2, -1, 1, 2, 5])
def test_a_header_length_that_lies_is_refused(off: int) -> None:
    body, length = binary(bytes(PIXELS))
    assert refused(body, str(max(0, int(length) + off)))[0] in ("invalid-request", "unusable-tensor")


@pytest.mark.parametrize("size", [0, 1, len(PIXELS) - 1, len(PIXELS) + 1, 2**63])
def test_a_binary_size_that_lies_is_refused(size: int) -> None:
    assert refused(*binary(bytes(PIXELS), size=size))[0] == "unusable-tensor"


def test_values_must_come_exactly_once() -> None:
    assert refused(request(data=None))[0] == "unusable-tensor"
    both = json.dumps(request(parameters={"binary_data_size": len(PIXELS)})).encode()
    assert refused(both + bytes(PIXELS), str(len(both)))[0] == "unusable-tensor"
    alone = json.dumps(request()).encode()
    assert refused(alone + bytes(PIXELS), str(len(alone)))[0] == "unusable-tensor"
    assert refused(request(data=None, parameters={"binary_data_size": 0}))[0] == "unusable-tensor"


def test_one_tensor_is_sent_and_each_output_asked_for_once() -> None:
    tensor = request()["inputs"][0]
    assert refused({"inputs": []})[0] == "invalid-request"
    assert refused({"inputs": [tensor, tensor]})[0] == "invalid-request"
    assert refused(request(name="x"))[0] == "unusable-tensor"
    assert refused({**request(), "outputs": [{"name": "label"}] * 2})[0] == "unusable-tensor"
    assert refused({**request(), "outputs": [{"name": "logits"}]})[0] == "unusable-tensor"
    assert refused({**request(), "outputs": [{"name": "label"}] * 4})[0] == "invalid-request"


def test_shared_memory_and_classification_are_not_offered() -> None:
    assert refused(request(parameters={"shared_memory_region": "r"}))[0] == "not-offered"
    for parameters in ({"shared_memory_region": "r"}, {"classification": 3}):
        asked = {**request(), "outputs": [{"name": "label", "parameters": parameters}]}
        assert refused(asked)[0] == "not-offered"


def test_a_large_document_is_refused_unparsed() -> None:
    kind, detail = refused(b"[" * (MAX_JSON_BYTES + 1))
    assert kind == "too-large"
    assert "binary" in detail


def test_unknown_parameters_of_other_servers_are_ignored() -> None:
    sent = {**request(), "parameters": {"sequence_id": 3, "priority": 1}, "model_name": "cifarops"}
    _, images = read_request(json.dumps(sent).encode(), None, S)
    assert images.ravel().tolist() == PIXELS


def test_answers_are_written_as_asked_for() -> None:
    labels = ("rot", "grün")
    predictions = [
        Prediction(f"id{k}", time.time(), "production", 7, k, np.array(p, np.float32), classes=labels)
        for k, p in enumerate([(0.75, 0.25), (0.5, 0.5)])
    ]
    asked = InferRequest.model_validate(
        {
            **request(),
            "id": "é",
            "parameters": {"binary_data_output": True},
            "outputs": [
                {"name": "label"},
                {"name": "probabilities"},
                {"name": "prediction_id", "parameters": {"binary_data": False}},
            ],
        }
    )
    response = write_answer(asked, predictions)
    length = int(response.headers[HEAD_LENGTH])
    body = bytes(response.body)
    head = json.loads(body[:length])
    assert (head["model_version"], head["id"]) == ("7", "é")
    label, probabilities, ids = head["outputs"]
    assert ids == {"name": "prediction_id", "datatype": "BYTES", "shape": [2], "data": ["id0", "id1"]}
    assert (label["datatype"], label["shape"]) == ("BYTES", [2])
    assert (probabilities["datatype"], probabilities["shape"]) == ("FP32", [2, 2])
    edge = length + label["parameters"]["binary_data_size"]
    assert body[length:edge] == struct.pack("<I", 3) + b"rot" + struct.pack("<I", 5) + "grün".encode()
    assert np.frombuffer(body[edge:], "<f4").tolist() == [0.75, 0.25, 0.5, 0.5]
    assert len(body) == edge + probabilities["parameters"]["binary_data_size"]

    everything = write_answer(InferRequest.model_validate(request()), predictions)
    assert everything.media_type == "application/json"
    assert HEAD_LENGTH not in everything.headers
    outputs = json.loads(bytes(everything.body))["outputs"]
    assert [output["name"] for output in outputs] == ["probabilities", "label", "prediction_id"]
    assert outputs[0]["data"] == [0.75, 0.25, 0.5, 0.5]
