"""The int8 version of a packaged model, made by ONNX Runtime's static quantizer."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.quant_utils import add_pre_process_metadata

from cifarops.bundle.runtime import INPUT
from cifarops.data.preprocess import Preprocessing

# Only these run as one chain of int8 kernels. The matrix product at the end is small and the most sensitive.
_OPERATORS = ["Conv", "Relu", "MaxPool"]
_CALIBRATION_IMAGES = 512
_BATCH = 64


def to_int8(model: bytes, images: NDArray[np.uint8], preprocessing: Preprocessing) -> bytes:
    """Return the model with its convolutions in int8: weights per channel, activations per tensor.

    The first convolution stays in float32: it has three channels in, so int8 saves nothing there, and its input is what
    rounding costs most. The same model and images give the same bytes.

    Args:
        model: A float32 ONNX file with input `INPUT`.
        images: Training images, uint8 (N, S, S, 3), from which a few are taken to see how large activations get.
        preprocessing: How images become the model's input.
    """
    graph = onnx.load_from_string(model)
    # Batch norm is folded and shapes are inferred below, which is all that the quantizer's preparation would do.
    add_pre_process_metadata(graph)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        onnx.save(graph, source)
        quantize_static(
            source,
            target,
            _Calibration(images, preprocessing),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=_OPERATORS,
            nodes_to_exclude=_first_layer(graph),
        )
        quantized = onnx.load(target)
    onnx.checker.check_model(quantized)
    return bytes(quantized.SerializeToString(deterministic=True))


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Training images at even distances, batch by batch."""

    def __init__(self, images: NDArray[np.uint8], preprocessing: Preprocessing) -> None:
        chosen = images[:: max(1, len(images) // _CALIBRATION_IMAGES)][:_CALIBRATION_IMAGES]
        self._batches: Iterator[NDArray[np.float32]] = (
            preprocessing.normalize(np.asarray(chosen[start : start + _BATCH]))
            for start in range(0, len(chosen), _BATCH)
        )

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}


def _first_layer(graph: onnx.ModelProto) -> list[str]:
    """Return the names of the operator that sees the images and of the activation after it."""
    first = next(node for node in graph.graph.node if INPUT in node.input)
    after = [
        node.name for node in graph.graph.node if node.op_type == "Relu" and first.output[0] in node.input
    ]
    return [first.name, *after]
