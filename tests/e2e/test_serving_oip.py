"""The Open Inference Protocol and MLflow's, asked of a real server: the same model, ledger and versions as /predict."""

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cifarops.bundle.signature import Signatures
from cifarops.deployment.process import ServerProcess
from cifarops.ledger.records import Canary, Decision
from cifarops.ledger.store import Ledger
from cifarops.serving.client import KEY_HEADER, Client
from cifarops.serving.sizes import MAX_IMAGES
from tests.support.abuse import survived
from tests.support.bundles import COLOURS, SIZE, colour_bundle, colour_image
from tests.support.serving import Connection, colour_workspace, settings_of

pytestmark = pytest.mark.e2e

_MODEL = "/v2/models/cifarops"
_HEAD = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inference")
    colour_workspace(path)
    return path


@pytest.fixture(scope="module")
def server(workspace: Path) -> Iterator[ServerProcess]:
    with ServerProcess("production", workspace=workspace, keep_images=True) as process:
        yield process


@pytest.fixture
def connection(server: ServerProcess) -> Iterator[Connection]:
    opened = Connection(server.url)
    yield opened
    opened.close()


def pixels_of(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)))[None]


def request(images: np.ndarray) -> str:
    tensor = {"name": "images", "datatype": "UINT8", "shape": images.shape, "data": images.tolist()}
    return json.dumps({"inputs": [tensor]})


def binary(images: np.ndarray) -> tuple[bytes, dict[str, str]]:
    parameters = {"binary_data_size": images.size}
    tensor = {"name": "images", "datatype": "UINT8", "shape": images.shape, "parameters": parameters}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + images.tobytes(), {_HEAD: str(len(head))}


def outputs(answer: dict[str, Any]) -> dict[str, Any]:
    return {output["name"]: output["data"] for output in answer["outputs"]}


def test_every_protocol_gives_the_same_answer_and_leaves_the_same_trace(
    connection: Connection, workspace: Path
) -> None:
    file = colour_image("green")
    _, predicted = connection.predict(file)
    expected = list(predicted["probabilities"].values())
    body, headers = binary(pixels_of(file))
    instances = json.dumps({"instances": [base64.b64encode(file).decode(), pixels_of(file)[0].tolist()]})
    _, tensor = connection.ask("POST", f"{_MODEL}/infer", request(pixels_of(file)))
    _, tail = connection.ask("POST", f"{_MODEL}/versions/7/infer", body, headers)
    status, invoked = connection.ask("POST", "/invocations", instances)
    assert status == 200, invoked
    for answer in (tensor, tail):
        assert (answer["model_name"], answer["model_version"]) == ("cifarops", "7")
        assert outputs(answer)["probabilities"] == expected
        assert outputs(answer)["label"] == ["green"]
    for answer in invoked["predictions"]:
        assert {**answer, "prediction_id": ""} == {**predicted, "prediction_id": ""}
    ids = [predicted["prediction_id"], *outputs(tensor)["prediction_id"], *outputs(tail)["prediction_id"]]
    ids += [answer["prediction_id"] for answer in invoked["predictions"]]
    for prediction_id in ids:
        said = json.dumps({"prediction_id": prediction_id, "label": "green"})
        assert connection.ask("POST", "/feedback", said)[0] == 200
    with Ledger(settings_of(workspace).ledger) as ledger:
        window = ledger.window("production", last=len(ids))
        images, _ = ledger.labelled_images("production", last=len(ids))
    assert list(window.ids) == ids
    assert window.probabilities.tolist() == [np.array(expected, np.float32).tolist()] * len(ids)
    assert all(np.array_equal(image, pixels_of(file)[0]) for image in images)


def test_a_full_batch_is_answered_image_by_image(connection: Connection) -> None:
    order = np.random.default_rng(0).integers(0, 3, MAX_IMAGES)
    images = np.concatenate([pixels_of(colour_image(COLOURS[k], seed=int(k))) for k in order])
    status, answer = connection.ask("POST", f"{_MODEL}/infer", *binary(images))
    assert status == 200
    assert outputs(answer)["label"] == [COLOURS[k] for k in order]
    assert len(set(outputs(answer)["prediction_id"])) == MAX_IMAGES


def test_many_full_batches_at_once_stay_small(server: ServerProcess) -> None:
    images = np.zeros((MAX_IMAGES, SIZE, SIZE, 3), np.uint8)
    images[..., 1] = 200
    statuses: list[int] = []

    def send() -> None:
        connection = Connection(server.url)
        for body, headers in (binary(images), (request(images), None)):
            status, answer = connection.ask("POST", f"{_MODEL}/infer", body, headers)
            statuses.append(status)
            if status == 200:
                assert set(outputs(answer)["label"]) == {"green"}
        connection.close()

    with survived(server):
        threads = [threading.Thread(target=send) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(statuses) == 24
    assert set(statuses) <= {200, 429, 503}
    assert 200 in statuses


def test_names_and_versions_that_are_not_there(connection: Connection) -> None:
    for path in (
        "/v2/models/other",
        f"{_MODEL}/versions/8",
        f"{_MODEL}/versions/07",
        f"{_MODEL}/versions/-7",
    ):
        status, document = connection.ask("GET", path)
        assert (status, document["type"]) == (404, "/problems/unknown-model")
    status, document = connection.ask("GET", "/v2")
    assert (status, document["name"]) == (200, "cifarops")


def test_a_canary_answers_its_share_and_is_reached_by_its_version(
    server: ServerProcess, connection: Connection, workspace: Path
) -> None:
    settings = settings_of(workspace)
    bundle = colour_bundle(settings.bundles, rotation=1)
    Signatures.of(settings).sign(bundle.digest, "production")
    with Ledger(settings.ledger) as ledger:
        seen = ledger.environment("production")
        canary = Canary(8, bundle.digest, 50.0, time.time())
        ledger.swap(
            seen, replace(seen, canary=canary), Decision("promote", "production", 8, "tester", "test")
        )
    deadline = time.monotonic() + 20
    while Client(server.url).version().canary_version != 8:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    red = request(pixels_of(colour_image("red")))
    for version, label in (("7", "red"), ("8", "green")):
        _, answer = connection.ask("POST", f"{_MODEL}/versions/{version}/infer", red)
        assert (answer["model_version"], outputs(answer)["label"]) == (version, [label])
    found = {}
    for k in range(40):
        key = {KEY_HEADER: f"client {k}"}
        _, answer = connection.ask("POST", f"{_MODEL}/infer", red, key)
        body = json.dumps({"instances": [base64.b64encode(colour_image("red")).decode()]})
        _, invoked = connection.ask("POST", "/invocations", body, key)
        found[k] = answer["model_version"]
        assert found[k] == str(invoked["predictions"][0]["model_version"])
    assert set(found.values()) == {"7", "8"}
    _, metadata = connection.ask("GET", _MODEL)
    assert metadata["versions"] == ["7", "8"]
