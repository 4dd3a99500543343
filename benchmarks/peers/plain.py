"""The server that a tutorial writes: FastAPI and ONNX Runtime, without versions, swaps, limits, ledger or counters.

uvicorn plain:app
"""

from classifier import Classifier
from fastapi import FastAPI, Request

app = FastAPI()
classify = Classifier()


@app.post("/predict")
async def predict(request: Request) -> dict[str, object]:
    """Classify the image in the body."""
    return classify(await request.body())
