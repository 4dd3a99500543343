"""What a coverage-guided fuzzer feeds.

python -m benchmarks.fuzz_targets TARGET [libFuzzer's options] CORPUS

Each target refuses with the exceptions that the interface promises; any other ends the run and is kept as a finding.
"""

import sys
import zlib
from collections.abc import Callable

import atheris
import numpy as np

with atheris.instrument_imports(include=["cifarops", "PIL"]):
    from cifarops.data.preprocess import decode
    from cifarops.errors import DataError
    from cifarops.serving.mlflow_protocol import read_images
    from cifarops.serving.oip_tensors import read_request
    from cifarops.serving.problems import ProblemError

SIDE = 4
_MAX_PIXELS = 250_000
_PNG = b"\x89PNG\r\n\x1a\n"


def image(content: bytes) -> None:
    """Decode a file as `/predict` does."""
    try:
        pixels = decode(content, SIDE, max_pixels=_MAX_PIXELS).pixels
    except DataError:
        return
    _check(pixels[None])


def tensors(content: bytes) -> None:
    """Read an inference request; the first two bytes say where its JSON ends, 0xffff: at the end."""
    place, body = int.from_bytes(content[:2], "little"), content[2:]
    try:
        _, images = read_request(body, None if place == 0xFFFF else str(place), SIDE)
    except ProblemError as error:
        error.response("/v2")
        return
    _check(images)


def invocations(content: bytes) -> None:
    """Read what MLflow's clients send."""
    try:
        images = read_images(content, SIDE)
    except ProblemError as error:
        error.response("/invocations")
    except DataError:
        pass
    else:
        _check(images)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "image": image,
    "tensors": tensors,
    "invocations": invocations,
}


def _check(images: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.shape[1:] != (SIDE, SIDE, 3):
        raise RuntimeError(f"{images.dtype} {images.shape}")


def _mutated(content: bytes, max_size: int, seed: int) -> bytes:
    """Change an input; a PNG gets its check sums right again, without which its decoder looks no further."""
    changed = bytes(atheris.Mutate(content, max_size))
    return _mended(changed)[:max_size] if changed.startswith(_PNG) else changed


def _mended(file: bytes) -> bytes:
    mended, rest = file[: len(_PNG)], file[len(_PNG) :]
    while len(rest) >= 12:
        length = min(int.from_bytes(rest[:4], "big"), len(rest) - 12)
        chunk = rest[4 : 8 + length]
        mended += length.to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        rest = rest[12 + length :]
    return mended + rest


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]], custom_mutator=_mutated)
    atheris.Fuzz()
