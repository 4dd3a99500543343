"""From a run to a bundle: exported, proved to answer as the network does, quantized, calibrated, measured, described."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cifarops.bundle.code import code_identity
from cifarops.bundle.manifest import Manifest, Parity, Provenance
from cifarops.bundle.reference import Reference, Sketch
from cifarops.bundle.runtime import OnnxFile, softmax
from cifarops.bundle.store import CARD, INT8_MODEL, MODEL, REFERENCE, SBOM, Bundle, write_bundle
from cifarops.data.snapshot import Snapshot
from cifarops.data.statistics import image_statistics
from cifarops.errors import IntegrityError, UsageError
from cifarops.evaluation.calibration import fit_temperature
from cifarops.evaluation.metrics import accuracy, expected_calibration_error, negative_log_likelihood
from cifarops.files import write_atomic
from cifarops.machine import multiplies_int8
from cifarops.packaging.card import write_card
from cifarops.packaging.onnx import to_onnx
from cifarops.packaging.quantize import to_int8
from cifarops.packaging.sbom import write_sbom
from cifarops.packaging.serving import choose_served
from cifarops.packaging.speed import measure_speed
from cifarops.progress import Progress, silent
from cifarops.training.checkpoint import copy_tensors, load_tensors
from cifarops.training.network import Network
from cifarops.training.run import BUNDLE, WEIGHTS, Run
from cifarops.training.tensors import Normalizer, logits

TOLERANCE = 1e-3
_BATCH = 256


def package(run: Run, snapshot: Snapshot, *, bundles: Path, progress: Progress = silent) -> Bundle:
    """Make a run into a bundle. The same run and code give the same bytes.

    Args:
        run: A finished run.
        snapshot: The one it was trained on; its `valid` split calibrates and measures.
        bundles: Directory of bundles.
        progress: Told about every batch that the packaged model answers.

    Raises:
        UsageError: The snapshot is not the run's.
        IntegrityError: The packaged model does not answer as the network does.
    """
    if run.snapshot != snapshot.id:
        raise UsageError(
            f"Run {run.id} was trained on snapshot {run.snapshot}, not {snapshot.id}.",
            fix=f"Package it with snapshot {run.snapshot}.",
        )
    preprocessing = snapshot.meta.preprocessing
    network = _network(run, snapshot)
    model = to_onnx(network, size=preprocessing.size)
    int8 = to_int8(model, snapshot.images("train"), preprocessing)
    images, labels = snapshot.images("valid"), np.array(snapshot.labels("valid"))
    exact, features = _outputs(
        OnnxFile(model, preprocessing, name=f"the model of run {run.id}"), images, progress
    )
    parity = check_parity(exact, logits(network, images, Normalizer(preprocessing)))
    rounded, rounded_features = _outputs(
        OnnxFile(int8, preprocessing, name=f"the int8 model of run {run.id}"), images, progress
    )
    speed = measure_speed(model, int8, preprocessing, run.path)
    serving = choose_served(exact, rounded, labels, factor=speed.factor, supported=multiplies_int8())
    answers, features = (rounded, rounded_features) if serving.precision == "int8" else (exact, features)
    temperature = fit_temperature(answers, labels)
    probabilities = softmax(answers / np.float32(temperature))
    metrics = {
        "accuracy": accuracy(probabilities, labels),
        "ece": expected_calibration_error(probabilities, labels),
        "nll": negative_log_likelihood(probabilities, labels),
    }
    reference = make_reference(answers, features, images, labels)
    code = code_identity()
    card = write_card(
        run, snapshot, metrics=metrics, parity=parity, serving=serving, temperature=temperature, code=code
    )
    bundle = write_bundle(
        bundles,
        {
            MODEL: model,
            INT8_MODEL: int8,
            REFERENCE: reference.to_bytes(),
            CARD: card.encode(),
            SBOM: write_sbom({MODEL: model, INT8_MODEL: int8}),
        },
        lambda files: Manifest(
            classes=snapshot.classes,
            preprocessing=preprocessing,
            temperature=temperature,
            metrics=metrics,
            parity=parity,
            serving=serving,
            snapshot=snapshot.id,
            synthetic=snapshot.is_synthetic,
            profile=run.profile,
            code=code,
            provenance=_provenance(run, snapshot),
            files=files,
        ),
    )
    write_atomic(run.path / BUNDLE, bundle.digest.encode())
    return bundle


def check_parity(packaged: NDArray[np.float32], trained: NDArray[np.float32]) -> Parity:
    """Compare the logits of the packaged model with the float32 network's, both (N, C).

    Within the tolerance only a tie can be decided differently, so that bounds the predictions too.

    Raises:
        IntegrityError: A logit is further off than the tolerance.
    """
    difference = float(np.abs(packaged - trained).max())
    equal = float((packaged.argmax(axis=1) == trained.argmax(axis=1)).mean())
    if not difference <= TOLERANCE:
        raise IntegrityError(
            f"The packaged model is not the trained network: a logit differs by {difference:.3g} "
            f"(allowed: {TOLERANCE:g}), and {1 - equal:.2%} of {len(packaged)} predictions differ.",
            fix="Use the pinned versions of torch and onnxruntime (constraints.txt), then package again.",
        )
    return Parity(
        images=len(packaged), max_logit_difference=difference, tolerance=TOLERANCE, equal_predictions=equal
    )


def _provenance(run: Run, snapshot: Snapshot) -> Provenance:
    params = run.params.model_dump(mode="json")
    return Provenance(
        source=snapshot.meta.source,
        params={section: params[section] for section in ("data", "train")},
        precision=run.precision,
        threads=run.threads,
        processor=run.processor,
        warm_start=run.start_sha256,
    )


def _network(run: Run, snapshot: Snapshot) -> Network:
    network = Network(run.params.train, classes=len(snapshot.classes), size=snapshot.meta.preprocessing.size)
    weights, _ = load_tensors(run.path / WEIGHTS)
    copy_tensors(weights, network.state_dict(), path=run.path / WEIGHTS)
    return network.eval()


def make_reference(
    logits: NDArray[np.float32],
    features: NDArray[np.float32],
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
) -> Reference:
    """Return what monitoring compares with: answers on `valid` and the traits of its images."""
    sketch = Sketch.fitted(features)
    statistics = image_statistics(np.asarray(images)).astype(np.float16)
    return Reference(logits, labels, np.hstack([sketch(features), statistics]), sketch)


def _outputs(
    model: OnnxFile, images: NDArray[np.uint8], progress: Progress
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    logits, features = [], []
    for index, (answers, seen) in enumerate(model.outputs_in_batches(images, batch=_BATCH)):
        logits.append(answers)
        features.append(seen)
        progress("packaging", min((index + 1) * _BATCH, len(images)), len(images))
    return np.concatenate(logits), np.concatenate(features)
