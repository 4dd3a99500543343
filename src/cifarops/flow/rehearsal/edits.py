"""What the people of the rehearsal change in the project: real files, which real checks read."""

import re
from collections.abc import Callable, Mapping

from cifarops.errors import UsageError

Edits = Mapping[str, Callable[[str], str]]
SIZES = "src/cifarops/serving/sizes.py"
SIZES_TEST = "tests/unit/serving/test_sizes.py"
_MEBIBYTE = 2**20
_LIMIT = re.compile(r"(?m)^MAX_IMAGE_BYTES = .*$")
_EPOCHS = re.compile(r"(?s)(\n  smoke:.*?train: \{epochs: )\d+")


def limit(mebibytes: int) -> Edits:
    """Change how large a request with an image may be, and its test."""
    return {
        SIZES: lambda text: _replaced(_LIMIT, f"MAX_IMAGE_BYTES = {mebibytes} * 2**20", text, SIZES),
        SIZES_TEST: lambda _: (
            "from cifarops.serving.sizes import MAX_IMAGE_BYTES\n\n\n"
            "def test_how_large_an_image_file_may_be() -> None:\n"
            f"    assert MAX_IMAGE_BYTES == {mebibytes * _MEBIBYTE}\n"
        ),
    }


def longer_training(epochs: int) -> Edits:
    """Train the profile of the rehearsal longer, so that its model gets better."""
    return {"params.yaml": lambda text: _replaced(_EPOCHS, rf"\g<1>{epochs}", text, "params.yaml")}


def one_more_line(name: str) -> Edits:
    """Append a line to a text."""
    return {name: lambda text: f"{text}One more line.\n"}


def _replaced(pattern: re.Pattern[str], new: str, text: str, name: str) -> str:
    changed, count = pattern.subn(new, text)
    if count != 1:
        raise UsageError(
            f"{name} has {count} places to change like {pattern.pattern!r}, not one.",
            fix="Rehearse a commit whose files look as they do in this version of the program.",
        )
    return changed
