"""What every peer does with an image: decode, normalise, ask ONNX Runtime, softmax. Runs without this project.

MODEL=model.onnx CLASSES=a,b MEAN=r,g,b STD=r,g,b
"""

import io
import os

import numpy as np
import onnxruntime
from PIL import Image


class Classifier:
    """The model in the file `MODEL`."""

    def __init__(self) -> None:
        self._session = onnxruntime.InferenceSession(os.environ["MODEL"])
        self._classes = os.environ["CLASSES"].split(",")
        self._mean = np.array(os.environ["MEAN"].split(","), np.float32)
        self._std = np.array(os.environ["STD"].split(","), np.float32)

    def __call__(self, content: bytes) -> dict[str, object]:
        """Classify one image file."""
        image = Image.open(io.BytesIO(content)).convert("RGB").resize((32, 32))
        pixels = (np.asarray(image, np.float32) / 255 - self._mean) / self._std
        (logits,) = self._session.run(["logits"], {"images": pixels.transpose(2, 0, 1)[None]})
        exponentials = np.exp(logits[0] - logits[0].max())
        probabilities = (exponentials / exponentials.sum()).tolist()
        best = int(np.argmax(probabilities))
        return {
            "label": self._classes[best],
            "confidence": probabilities[best],
            "probabilities": dict(zip(self._classes, probabilities, strict=True)),
        }
