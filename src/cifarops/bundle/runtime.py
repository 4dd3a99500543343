"""Inference with the packaged model: the one place where ONNX Runtime is called."""

import os
from collections.abc import Iterator

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from cifarops.bundle.manifest import Precision
from cifarops.bundle.store import Bundle
from cifarops.data.preprocess import Preprocessing
from cifarops.errors import IntegrityError
from cifarops.machine import multiplies_int8

INPUT = "images"
OUTPUT = "logits"
FEATURES = "features"


class OnnxFile:
    """An ONNX file, ready to answer.

    Args:
        model: The file's bytes.
        preprocessing: How images become its input.
        name: What it is called in messages.
        threads: Threads that one call may use.

    Raises:
        IntegrityError: ONNX Runtime can't load it.
    """

    def __init__(self, model: bytes, preprocessing: Preprocessing, *, name: str, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that wait by turning in circles take the time of those that decode, or answer somebody else.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        # A model is one file whose hash was checked. What it names besides is looked for where nothing can lie.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        self._preprocessing = preprocessing
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises a type of its own for each cause
            raise IntegrityError(
                f"ONNX Runtime can't load {name}: {error}",
                fix="Use another version, or package the run again.",
            ) from error

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answer a batch: uint8 (N, S, S, 3) to uncalibrated logits, float32 (N, C)."""
        (logits,) = self._session.run([OUTPUT], {INPUT: self._preprocessing.normalize(images)})
        result: NDArray[np.float32] = logits
        return result

    def outputs(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Answer a batch with logits, float32 (N, C), and what the last layer saw, float32 (N, F)."""
        logits, features = self._session.run(
            [OUTPUT, FEATURES], {INPUT: self._preprocessing.normalize(images)}
        )
        return logits, features

    def outputs_in_batches(
        self, images: NDArray[np.uint8], *, batch: int = 256
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Yield the outputs for `images` batch by batch, so that a caller can show progress."""
        for start in range(0, len(images), batch):
            yield self.outputs(np.asarray(images[start : start + batch]))


class OnnxModel(OnnxFile):
    """The packaged model, ready to answer.

    Args:
        bundle: A verified bundle.
        threads: Threads that one call may use.
        precision: Which of its two models; by default the one that answers on this machine.

    Raises:
        IntegrityError: ONNX Runtime can't load the model.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1, precision: Precision | None = None) -> None:
        self.manifest = bundle.manifest
        self.precision = precision or served_precision(bundle)
        super().__init__(
            (bundle.int8_path if self.precision == "int8" else bundle.model_path).read_bytes(),
            bundle.manifest.preprocessing,
            name=f"bundle {bundle.digest[:12]}",
            threads=threads,
        )

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answer a batch with calibrated probabilities, float32 (N, C); rows sum to 1."""
        return softmax(self.logits(images) / np.float32(self.manifest.temperature))


def served_precision(bundle: Bundle) -> Precision:
    """Return which of a bundle's models answers on this machine: int8 only where the processor multiplies it."""
    return bundle.manifest.serving.precision if multiplies_int8() else "float32"


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the softmax over the last axis, without overflow."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    result: NDArray[np.float32] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return result
