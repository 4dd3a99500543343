"""Whatever comes in is read as what it means, or refused as the interface says: nothing else is ever raised."""

import json
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cifarops.data.preprocess import decode
from cifarops.errors import DataError
from cifarops.serving.documents import read_json
from cifarops.serving.mlflow_messages import Invocation
from cifarops.serving.oip_tensors import read_request
from cifarops.serving.problems import ProblemError
from tests.support.images import encoded, noise

_SIZE = 3
_FILES = [encoded(noise(1, size=size)[0], kind) for size in (8, 40) for kind in ("PNG", "JPEG", "WEBP")]

_images = st.builds(
    lambda count, seed: np.random.default_rng(seed).integers(0, 256, (count, _SIZE, _SIZE, 3), np.uint8),
    st.integers(1, 5),
    st.integers(0, 2**32),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_tensor = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("images") | _json,
        "datatype": st.sampled_from(["UINT8", "FP32"]) | _json,
        "shape": st.lists(st.integers(-3, 5) | st.integers(), max_size=5)
        | st.just([1, _SIZE, _SIZE, 3])
        | _json,
        "data": st.lists(st.integers(-1, 256), min_size=_SIZE**2 * 3, max_size=_SIZE**2 * 3) | _json,
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 40)}) | _json,
    },
)


def _body(images: NDArray[np.uint8], data: Any, parameters: dict[str, Any] | None = None) -> bytes:
    tensor = {"name": "images", "datatype": "UINT8", "shape": list(images.shape), "data": data}
    tensor["parameters"] = parameters or {}
    return json.dumps({"inputs": [{k: v for k, v in tensor.items() if v is not None}]}).encode()


@given(_images)
def test_pixels_arrive_unchanged_however_they_are_sent(images: NDArray[np.uint8]) -> None:
    head = _body(images, None, {"binary_data_size": images.size})
    for body, length in (
        (_body(images, images.tolist()), None),
        (_body(images, images.ravel().tolist()), None),
        (head + images.tobytes(), str(len(head))),
    ):
        _, read = read_request(body, length, _SIZE)
        assert np.array_equal(read, images)


@settings(max_examples=40)
@given(st.lists(_tensor, max_size=2) | _json, st.binary(max_size=40), st.none() | st.integers(-5, 400))
def test_any_tensor_is_read_or_refused(inputs: Any, tail: bytes, length: int | None) -> None:
    head = json.dumps({"inputs": inputs}).encode()
    head_length = None if length is None else str(length if length < 300 else len(head))
    try:
        _, images = read_request(head + (tail if length is not None else b""), head_length, _SIZE)
    except ProblemError as error:
        error.response("/v2")  # it can be sent
        return
    assert images.shape[1:] == (_SIZE, _SIZE, 3)
    assert images.dtype == np.uint8


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode(errors="replace")))
def test_any_bytes_are_a_document_or_refused(content: bytes) -> None:
    try:
        found = read_json(content)
    except ProblemError:
        return
    assert found == json.loads(content)


@given(_json)
def test_any_invocation_is_a_list_of_images_or_refused(document: Any) -> None:
    for form in ("instances", "inputs", "dataframe_records", "dataframe_split"):
        try:
            images = Invocation.model_validate({form: document}).images()
        except (ValueError, ProblemError):
            continue
        assert images


@given(
    st.sampled_from(_FILES), st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=8), st.data()
)
def test_damaged_images_are_decoded_to_size_or_refused(
    file: bytes, changes: list[tuple[int, int]], data: st.DataObject
) -> None:
    content = bytearray(file[: data.draw(st.integers(0, len(file)))] if data.draw(st.booleans()) else file)
    for place, value in changes:
        if content:
            content[place % len(content)] = value
    try:
        pixels = decode(bytes(content), _SIZE, max_pixels=10_000).pixels
    except DataError:
        return
    assert pixels.shape == (_SIZE, _SIZE, 3)
    assert pixels.dtype == np.uint8
