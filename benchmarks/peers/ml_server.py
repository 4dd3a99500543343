"""MLServer: a runtime of one's own, which the Open Inference Protocol asks with base64 in JSON."""

import base64
import json

from classifier import Classifier
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Images(MLModel):
    """One model."""

    async def load(self) -> bool:
        """Load the model."""
        self.classify = Classifier()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Classify the image in the first input."""
        answer = self.classify(base64.b64decode(payload.inputs[0].data[0]))
        return InferenceResponse(
            model_name=self.name, outputs=[StringCodec.encode_output("answer", [json.dumps(answer)])]
        )
