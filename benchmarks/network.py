"""A convolutional network of the size of a good small CIFAR-10 model, with random weights, as a bundle."""

from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cifarops.bundle.manifest import CodeIdentity, FileEntry, Manifest, Parity, Provenance, Serving
from cifarops.bundle.runtime import FEATURES, INPUT, OUTPUT
from cifarops.bundle.store import CARD, INT8_MODEL, MODEL, REFERENCE, SBOM, Bundle, write_bundle
from cifarops.data.preprocess import Preprocessing
from cifarops.data.snapshot import SourceInfo
from cifarops.packaging.export import make_reference
from cifarops.packaging.quantize import to_int8

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_WIDTHS = (64, 128, 256)
_SIZE = 32


def network_bundle(root: Path) -> Bundle:
    """Write the bundle: three stages of convolution, ReLU and pooling (64, 128, 256 channels), then a linear layer."""
    random = np.random.default_rng(0)
    nodes: list[NodeProto] = []
    weights = []
    below, channels = INPUT, 3
    for stage, width in enumerate(_WIDTHS):
        kernel = random.normal(0, (2 / (9 * channels)) ** 0.5, (width, channels, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"kernel{stage}"))
        nodes += [
            helper.make_node(
                "Conv", [below, f"kernel{stage}"], [f"conv{stage}"], f"conv{stage}", pads=[1] * 4
            ),
            helper.make_node("Relu", [f"conv{stage}"], [f"relu{stage}"], f"relu{stage}"),
            helper.make_node(
                "MaxPool", [f"relu{stage}"], [f"pool{stage}"], kernel_shape=[2, 2], strides=[2, 2]
            ),
        ]
        below, channels = f"pool{stage}", width
    head = random.normal(0, channels**-0.5, (channels, len(CLASSES))).astype(np.float32)
    weights.append(numpy_helper.from_array(head, "head"))
    nodes += [
        helper.make_node("GlobalMaxPool", [below], ["top"]),
        helper.make_node("Flatten", ["top"], [FEATURES]),
        helper.make_node("MatMul", [FEATURES, "head"], [OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 3, _SIZE, _SIZE])],
        [
            helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", len(CLASSES)]),
            helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["n", channels]),
        ],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    preprocessing = Preprocessing(size=_SIZE, mean=(0.49, 0.48, 0.45), std=(0.25, 0.24, 0.26))
    noise = random.integers(0, 256, (64, _SIZE, _SIZE, 3), dtype=np.uint8)

    def describe(files: dict[str, FileEntry]) -> Manifest:
        return Manifest(
            classes=CLASSES,
            preprocessing=preprocessing,
            temperature=1.0,
            metrics={},
            parity=Parity(images=0, max_logit_difference=0.0, tolerance=1e-3, equal_predictions=1.0),
            serving=Serving(
                precision="int8",
                reason="to measure its speed",
                images=0,
                equal_predictions=1.0,
                difference=0.0,
                difference_low=0.0,
                difference_high=0.0,
            ),
            snapshot="random-weights",
            synthetic=True,
            profile="benchmark",
            code=CodeIdentity(version="0", commit=None, dirty=False),
            provenance=Provenance(
                source=SourceInfo(kind="synthetic", name="none", sha256=""),
                params={"data": {}, "train": {"seed": 0}},
                precision="float32",
                threads=0,
                processor="none",
            ),
            files=files,
        )

    labels = np.arange(100) % len(CLASSES)
    features = random.normal(0, 1, (len(labels), channels)).astype(np.float32)
    pixels = np.zeros((len(labels), _SIZE, _SIZE, 3), np.uint8)
    reference = make_reference(np.eye(len(CLASSES), dtype=np.float32)[labels], features, pixels, labels)
    files = {
        MODEL: content,
        INT8_MODEL: to_int8(content, noise, preprocessing),
        REFERENCE: reference.to_bytes(),
        CARD: b"",
        SBOM: b"",
    }
    return write_bundle(root, files, describe)
