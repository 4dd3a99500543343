"""What stock clients do with a server, each in a process of its own: python -m tests.support.stock_clients CLIENT URL

The server's model names colours. What the client saw is printed as JSON.
"""

import asyncio
import base64
import json
import sys
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tests.support.bundles import COLOURS, SIZE, colour_image

MODEL = "cifarops"


def pixels() -> np.ndarray:
    """Draw one image for each colour, uint8 (3, SIZE, SIZE, 3)."""
    images = np.zeros((len(COLOURS), SIZE, SIZE, 3), np.uint8)
    for k in range(len(COLOURS)):
        images[k, ..., k] = 200
    return images


def triton(url: str) -> dict[str, Any]:
    """Ask as `tritonclient[http]` does: health, metadata, inference in JSON and binary, and what is not offered."""
    import tritonclient.http as http
    from tritonclient.utils import InferenceServerException

    client = http.InferenceServerClient(urlsplit(url).netloc)
    images, labels, errors = pixels(), [], []
    for binary_in in (True, False):
        tensor = http.InferInput("images", images.shape, "UINT8")
        tensor.set_data_from_numpy(images, binary_data=binary_in)
        for outputs in (None, *([http.InferRequestedOutput("label", binary_data=b)] for b in (True, False))):
            answer = client.infer(MODEL, [tensor], model_version="7", outputs=outputs, request_id="mine")
            assert answer.get_response()["id"] == "mine"
            labels.append([_text(label) for label in answer.as_numpy("label")])
    everything = client.infer(MODEL, [tensor])
    wrong = http.InferInput("images", [1, 4], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 4), np.float32))
    refused = (
        lambda: client.infer(MODEL, [wrong]),
        client.get_system_shared_memory_status,
        lambda: client.register_cuda_shared_memory("region", b"handle", 0, 64),
        lambda: client.load_model(MODEL),
        lambda: client.unload_model(MODEL),
    )
    for call in refused:
        try:
            call()
        except InferenceServerException as error:
            errors.append([error.status(), error.message()])
    return {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "models": [
            client.is_model_ready(MODEL),
            client.is_model_ready(MODEL, "7"),
            client.is_model_ready("x"),
        ],
        "metadata": client.get_model_metadata(MODEL),
        "extensions": client.get_server_metadata()["extensions"],
        "labels": labels,
        "sums": everything.as_numpy("probabilities").sum(axis=1).tolist(),
        "prediction_ids": [_text(each) for each in everything.as_numpy("prediction_id")],
        "errors": errors,
    }


def kserve(url: str) -> dict[str, Any]:
    """Ask as KServe's SDK does: health, and inference in JSON and binary."""
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

    async def ask() -> dict[str, Any]:
        labels = []
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            for binary in (True, False):
                tensor = InferInput("images", list(pixels().shape), "UINT8")
                tensor.set_data_from_numpy(pixels(), binary_data=binary)
                request = InferRequest(MODEL, [tensor])
                answer = await client.infer(url, request, model_name=MODEL)
                found = {output.name: output.as_numpy() for output in answer.outputs}
                labels.append([_text(label) for label in found["label"]])
            return {
                "live": await client.is_server_live(url),
                "ready": await client.is_server_ready(url),
                "models": [await client.is_model_ready(url, MODEL), await client.is_model_ready(url, "x")],
                "labels": labels,
                "sums": found["probabilities"].sum(axis=1).tolist(),
            }

    return asyncio.run(ask())


def mlflow(url: str) -> dict[str, Any]:
    """Ask as MLflow's scoring client does: arrays, and data frames of image files."""
    import pandas
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    parts = urlsplit(url)
    client = ScoringServerClient(parts.hostname, parts.port)
    client.wait_server_ready()
    files = [base64.b64encode(colour_image(colour)).decode() for colour in COLOURS]
    frame = pandas.DataFrame({"image": files})
    asked = (
        pixels(),
        frame,
        {"instances": files},
        {"dataframe_records": frame.to_dict("records")},
        {"inputs": {"image": files}},
    )
    answers = [
        client.invoke(json.dumps(data) if isinstance(data, dict) else data).get_predictions()
        for data in asked
    ]
    return {
        "version": json.loads(client.get_version())["model_version"],
        "labels": [answer["label"].tolist() for answer in answers],
        "prediction_ids": answers[0]["prediction_id"].tolist(),
    }


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


if __name__ == "__main__":
    json.dump({"triton": triton, "kserve": kserve, "mlflow": mlflow}[sys.argv[1]](sys.argv[2]), sys.stdout)
