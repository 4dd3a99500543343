"""Small real bundles, made in milliseconds: they name the strongest colour of an image.

A rotated bundle names the next colour instead, so that an answer shows which version computed it.
"""

import io
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from cifarops.bundle.manifest import CodeIdentity, FileEntry, Manifest, Parity, Provenance, Serving
from cifarops.bundle.reference import Reference, Sketch
from cifarops.bundle.runtime import FEATURES, INPUT, OUTPUT
from cifarops.bundle.store import CARD, INT8_MODEL, MODEL, REFERENCE, SBOM, Bundle, write_bundle
from cifarops.data.preprocess import Preprocessing
from cifarops.data.snapshot import SourceInfo
from cifarops.data.statistics import STATISTICS

COLOURS = ("red", "green", "blue")
SIZE = 8
PROVENANCE = Provenance(
    source=SourceInfo(kind="synthetic", name="colours", sha256="0" * 64),
    params={"data": {"source": "synthetic"}, "train": {"seed": 0}},
    precision="float32",
    threads=1,
    processor="test",
)
_PARITY = Parity(images=0, max_logit_difference=0.0, tolerance=1e-3, equal_predictions=1.0)
# Without a convolution there is nothing to quantize: both models are the same.
_SERVING = Serving(
    precision="float32",
    reason="int8 is not 1.2 times as fast",
    images=90,
    equal_predictions=1.0,
    difference=0.0,
    difference_low=-0.01,
    difference_high=0.01,
)


def colour_bundle(
    root: Path,
    *,
    rotation: int = 0,
    sharpness: float = 4.0,
    outputs: int = 3,
    classes: tuple[str, ...] = COLOURS,
    commit: str | None = None,
    poisoned: bool = False,
    crashing: bool = False,
    ballast: int = 0,
) -> Bundle:
    """Write a bundle that answers `classes[(strongest + rotation) % 3]`.

    Args:
        root: Directory of bundles.
        rotation: See above.
        sharpness: Factor of the logits: the higher, the surer.
        outputs: Other than 3, the model does not answer as its manifest says.
        classes: What it calls them.
        commit: What the model was made from.
        poisoned: It fails on images in which blue is strong, and on nothing that a preflight shows it.
        crashing: It fails on every image.
        ballast: So many steps more that change nothing but the time that loading takes.
    """
    limit = -np.inf if crashing else 0.45 if poisoned else np.inf
    weights = np.roll(np.eye(3, dtype=np.float32) * sharpness, rotation, axis=1)
    weights = np.resize(weights, (3, outputs)) if outputs != len(COLOURS) else weights
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", [INPUT], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], [FEATURES]),
            helper.make_node("MatMul", [FEATURES, "weights"], ["sums"]),
            helper.make_node("Gather", [FEATURES, "blue"], ["strength"], axis=1),
            helper.make_node("Greater", ["strength", "limit"], ["strong"]),
            helper.make_node("Cast", ["strong"], ["place"], to=TensorProto.INT64),
            # There is no second entry.
            helper.make_node("Gather", ["entries", "place"], ["nothing"]),
            helper.make_node("Add", ["sums", "nothing"], ["step 0"]),
            *(helper.make_node("Add", [f"step {k}", "nothing"], [f"step {k + 1}"]) for k in range(ballast)),
            helper.make_node("Identity", [f"step {ballast}"], [OUTPUT]),
        ],
        "colours",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", outputs]),
            helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["n", 3]),
        ],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([COLOURS.index("blue")]), "blue"),
            numpy_helper.from_array(np.array(limit, np.float32), "limit"),
            numpy_helper.from_array(np.zeros(1, np.float32), "entries"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return _write(root, model.SerializeToString(), classes, commit)


def unloadable_bundle(root: Path, model: bytes = b"this is not a model") -> Bundle:
    """Write a bundle whose hashes are right and whose model is no ONNX file, or another that can't be loaded."""
    return _write(root, model)


def colour_image(colour: str, *, seed: int = 0, kind: str = "PNG", size: int = SIZE) -> bytes:
    """Draw an image file in which `colour` is the strongest channel."""
    pixels = np.random.default_rng(seed).integers(0, 100, (size, size, 3), dtype=np.uint8)
    pixels[..., COLOURS.index(colour)] += 120
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def bundle_of(
    root: Path,
    logits: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    temperature: float = 1.0,
    model: bytes = b"this is not a model",
    classes: tuple[str, ...] = COLOURS,
    commit: str | None = None,
    traits: NDArray[np.float16] | None = None,
    snapshot: str = "0" * 16,
) -> Bundle:
    """Write a bundle whose reference holds these answers on `valid`, with three features."""
    if traits is None:
        traits = np.zeros((len(labels), 3 + 1 + len(STATISTICS)), np.float16)
    sketch = Sketch(np.zeros(3, np.float32), np.eye(3, dtype=np.float32))
    reference = Reference(logits, labels, traits, sketch)

    def describe(files: dict[str, FileEntry]) -> Manifest:
        return Manifest(
            classes=classes,
            preprocessing=Preprocessing(size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
            temperature=temperature,
            metrics={"accuracy": float((logits.argmax(axis=1) == labels).mean())},
            parity=_PARITY,
            serving=_SERVING,
            snapshot=snapshot,
            synthetic=True,
            profile="smoke",
            code=CodeIdentity(version="0", commit=commit, dirty=False),
            provenance=PROVENANCE,
            files=files,
        )

    files = {MODEL: model, INT8_MODEL: model, REFERENCE: reference.to_bytes()}
    return write_bundle(root, {**files, CARD: b"# Model card\n", SBOM: b'{"components": []}\n'}, describe)


def _write(root: Path, model: bytes, classes: tuple[str, ...] = COLOURS, commit: str | None = None) -> Bundle:
    labels = np.arange(90) % 3
    logits = np.eye(3, dtype=np.float32)[labels] * 4
    return bundle_of(root, logits, labels, model=model, classes=classes, commit=commit)
