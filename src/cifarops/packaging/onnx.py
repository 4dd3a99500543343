"""The trained network as an ONNX file."""

import copy
import io
import warnings

import onnx
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from cifarops.bundle.runtime import FEATURES, INPUT, OUTPUT
from cifarops.training.network import Network, Stage

_OPSET = 17


def to_onnx(network: Network, *, size: int) -> bytes:
    """Return the network as ONNX: `images` float32 (N, 3, size, size) to `logits` float32 (N, C), N free.

    What the last layer sees is a second output, `features` float32 (N, F): it costs nothing more to compute. Batch norm is
    folded into the convolutions. The same weights give the same bytes.
    """
    folded = _Answering(fold(network))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter needs seconds, and writes this machine's paths into the file.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            folded,
            (torch.zeros(1, 3, size, size),),
            buffer,  # type: ignore[arg-type]  # the annotation forgets what this exporter takes
            dynamo=False,
            opset_version=_OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT, FEATURES],
            dynamic_axes={name: {0: "batch"} for name in (INPUT, OUTPUT, FEATURES)},
        )
    model = onnx.load_from_string(buffer.getvalue())
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


class _Answering(nn.Module):
    """A network that gives its features with its logits."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self._network.features(images)
        return self._network.head(features), features


def fold(network: Network) -> Network:
    """Return a copy in evaluation mode whose batch norms are folded into the convolutions before them.

    Between the two there may be a max pool: batch norm's scale is positive, so the maximum stays where it is. ReLU, too,
    commutes with the maximum and moves before the pool: the runtime then makes it part of the convolution, and in a quantized
    network in int8 everything between two convolutions stays in int8.
    """
    folded = copy.deepcopy(network).eval()
    for index, stage in enumerate(folded.stages):
        if isinstance(stage, Stage):
            folded.stages[index] = _fold_stage(stage)
    return folded


def _fold_stage(stage: Stage) -> nn.Sequential:
    layers: list[nn.Module] = []
    latest = 0
    for layer in stage:
        convolution = layers[latest] if layers else None
        if isinstance(layer, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
            layers[latest] = fuse_conv_bn_eval(convolution, layer)
            continue
        if isinstance(layer, nn.ReLU):
            layers.insert(latest + 1, layer)
            continue
        if isinstance(layer, nn.Conv2d):
            latest = len(layers)
        layers.append(layer)
    return nn.Sequential(*layers)
