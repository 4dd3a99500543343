"""A whole verdict in one MLflow tag: compressed, because a tag holds 100,000 characters and a confusion matrix grows."""

import base64
import binascii
import zlib

from pydantic import ValidationError

from cifarops.errors import IntegrityError
from cifarops.evaluation.gate import Verdict


def pack(verdict: Verdict) -> str:
    """Return a verdict as text for a tag."""
    return base64.b64encode(zlib.compress(verdict.model_dump_json().encode(), 9)).decode()


def unpack(text: str, what: str) -> Verdict:
    """Return the verdict that `pack` made into `text`; `what` is named in the message.

    Raises:
        IntegrityError: The text is no verdict.
    """
    try:
        return Verdict.model_validate_json(zlib.decompress(base64.b64decode(text, validate=True)))
    except (binascii.Error, zlib.error, ValidationError) as error:
        raise IntegrityError(
            f"The verdict kept with {what} can't be read: {error}",
            fix="Judge the bundle again: cifarops evaluate gate.",
        ) from error
