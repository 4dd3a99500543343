"""BentoML: bentoml serve bento:Images."""

from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType
from classifier import Classifier


@bentoml.service
class Images:
    """One model."""

    def __init__(self) -> None:
        self.classify = Classifier()

    @bentoml.api
    def predict(self, image: Annotated[Path, ContentType("image/jpeg")], /) -> dict[str, Any]:
        """Classify the image in the body."""
        return self.classify(image.read_bytes())
