"""What schemathesis can't make up from the OpenAPI document by itself: image files."""

import io

import numpy as np
import schemathesis
from hypothesis import strategies as st
from PIL import Image

_KINDS = ("PNG", "JPEG", "WEBP")


def _file(kind: str, side: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def _files(kind: str) -> st.SearchStrategy[bytes]:
    return st.builds(_file, st.just(kind), st.integers(8, 40), st.integers(0, 2**32))


for _kind in _KINDS:
    schemathesis.openapi.media_type(f"image/{_kind.lower()}", _files(_kind))
schemathesis.openapi.media_type("application/octet-stream", st.one_of(*map(_files, _KINDS)))
