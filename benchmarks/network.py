"""The network of the profile `fast` with random weights, as a bundle."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.harness import ROOT
from cifarops.bundle.manifest import CodeIdentity, FileEntry, Manifest, Parity, Provenance, Serving
from cifarops.bundle.store import CARD, INT8_MODEL, MODEL, REFERENCE, SBOM, Bundle, write_bundle
from cifarops.config import load_params
from cifarops.data.preprocess import Preprocessing
from cifarops.data.snapshot import SourceInfo
from cifarops.packaging.export import make_reference
from cifarops.packaging.onnx import to_onnx
from cifarops.packaging.quantize import to_int8
from cifarops.training.network import Network

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DESCRIPTION = "the network of the profile fast with random weights, 32×32"
_TRAIN = load_params(ROOT / "params.yaml", "fast").train
_SIZE = 32


def network_bundle(root: Path) -> Bundle:
    """Write the bundle; the same weights each time."""
    random = np.random.default_rng(0)
    content = _model()
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
    features = random.normal(0, 1, (len(labels), _TRAIN.widths[-1])).astype(np.float32)
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


def _model() -> bytes:
    torch.manual_seed(0)
    network = Network(_TRAIN, classes=len(CLASSES), size=_SIZE)
    for layer in network.modules():
        # As they are made, some tensors equal others, and would be stored once.
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.bias, std=0.1)
    return to_onnx(network, size=_SIZE)
