"""LitServe: python lit.py PORT."""

import base64
import sys
from typing import Any

import litserve
from classifier import Classifier


class Images(litserve.LitAPI):
    """One model; the image comes in JSON, as its documentation shows."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.classify = Classifier()

    def decode_request(self, request: dict[str, str]) -> bytes:
        """Take the image out of the request."""
        return base64.b64decode(request["image"])

    def predict(self, content: bytes) -> dict[str, object]:
        """Classify it."""
        return self.classify(content)

    def encode_response(self, answer: dict[str, object]) -> dict[str, Any]:
        """Return the answer as it is."""
        return answer


if __name__ == "__main__":
    litserve.LitServer(Images(), accelerator="cpu").run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False
    )
