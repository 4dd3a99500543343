"""The trained network as an ONNX file."""

import io
import warnings

import onnx
import torch

from cifarops.bundle.runtime import INPUT, OUTPUT
from cifarops.training.network import Network

_OPSET = 17


def to_onnx(network: Network, *, size: int) -> bytes:
    """Return the network as ONNX: `images` float32 (N, 3, size, size) to `logits` float32 (N, C), N free.

    The exporter folds batch norm into the convolutions. The same weights give the same bytes.
    """
    network.eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter needs seconds, and writes this machine's paths into the file.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, size, size),),
            buffer,  # type: ignore[arg-type]  # the annotation forgets what this exporter takes
            dynamo=False,
            opset_version=_OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
        )
    model = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
