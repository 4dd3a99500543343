"""The server that a tutorial writes: FastAPI and ONNX Runtime, without versions, swaps, limits, ledger or counters.

MODEL=model.onnx CLASSES=a,b MEAN=r,g,b STD=r,g,b uvicorn benchmarks.plain_serving:app
"""

import io
import os

import numpy as np
import onnxruntime
from fastapi import FastAPI, Request
from PIL import Image

app = FastAPI()
session = onnxruntime.InferenceSession(os.environ["MODEL"])
classes = os.environ["CLASSES"].split(",")
mean = np.array(os.environ["MEAN"].split(","), np.float32)
std = np.array(os.environ["STD"].split(","), np.float32)


@app.post("/predict")
async def predict(request: Request) -> dict[str, object]:
    """Classify the image in the body."""
    image = Image.open(io.BytesIO(await request.body())).convert("RGB").resize((32, 32))
    pixels = (np.asarray(image, np.float32) / 255 - mean) / std
    (logits,) = session.run(None, {"images": pixels.transpose(2, 0, 1)[None]})
    exponentials = np.exp(logits[0] - logits[0].max())
    probabilities = (exponentials / exponentials.sum()).tolist()
    best = int(np.argmax(probabilities))
    return {
        "label": classes[best],
        "confidence": probabilities[best],
        "probabilities": dict(zip(classes, probabilities, strict=True)),
    }
