from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from cifarops.bundle.reference import load_reference
from cifarops.bundle.runtime import INPUT, OUTPUT, OnnxModel
from cifarops.bundle.store import CARD, Bundle
from cifarops.data.snapshot import Snapshot
from cifarops.data.statistics import image_statistics
from cifarops.errors import IntegrityError, UsageError
from cifarops.evaluation.metrics import accuracy, expected_calibration_error
from cifarops.packaging.export import TOLERANCE, check_parity, package
from cifarops.training.run import WEIGHTS, Run, run_of
from tests.support.training import made_run, tiny_params, tiny_snapshot


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return tiny_snapshot(tmp_path_factory.mktemp("snapshots"), wrong=0.2)


@pytest.fixture(scope="module")
def run(snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made_run(tmp_path_factory.mktemp("runs"), snapshot, tiny_params())


@pytest.fixture(scope="module")
def bundle(run: Run, snapshot: Snapshot, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return package(run, snapshot, bundles=tmp_path_factory.mktemp("bundles"))


def test_the_bundle_says_what_the_packaged_model_answers(bundle: Bundle, snapshot: Snapshot) -> None:
    images, labels = snapshot.images("valid"), np.array(snapshot.labels("valid"))
    model = OnnxModel(bundle)
    reference = load_reference(bundle)
    np.testing.assert_allclose(model.logits(images), reference.logits, atol=1e-4)
    assert reference.logits.dtype == np.float32
    assert reference.labels.dtype == np.int64
    np.testing.assert_array_equal(reference.labels, labels)
    probabilities = model.probabilities(images)
    metrics = bundle.manifest.metrics
    assert metrics["accuracy"] == accuracy(probabilities, labels)
    assert metrics["ece"] == pytest.approx(expected_calibration_error(probabilities, labels), abs=1e-3)
    assert metrics.keys() == {"accuracy", "ece", "nll"}


def test_the_reference_holds_the_traits_that_serving_computes(bundle: Bundle, snapshot: Snapshot) -> None:
    images = np.asarray(snapshot.images("valid"))
    reference = load_reference(bundle)
    _, features = OnnxModel(bundle).outputs(images)
    assert reference.traits.dtype == np.float16
    assert reference.traits.shape == (90, len(reference.trait_names))
    traits = np.hstack([reference.sketch(features), image_statistics(images)])
    np.testing.assert_allclose(reference.traits.astype(np.float32), traits, rtol=2e-3, atol=2e-2)


def test_identity_and_parity_are_recorded(bundle: Bundle, snapshot: Snapshot) -> None:
    manifest = bundle.manifest
    assert (manifest.snapshot, manifest.classes) == (snapshot.id, snapshot.classes)
    assert manifest.preprocessing == snapshot.meta.preprocessing
    assert (manifest.profile, manifest.synthetic) == ("smoke", True)
    assert manifest.parity.images == 90
    assert manifest.parity.max_logit_difference <= manifest.parity.tolerance == TOLERANCE
    assert manifest.parity.equal_predictions == 1


def test_batch_norm_is_folded_and_the_batch_is_free(bundle: Bundle) -> None:
    graph = onnx.load(bundle.model_path).graph
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    assert [graph.input[0].name, graph.output[0].name] == [INPUT, OUTPUT]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim][1:] == [3, 16, 16]
    assert {tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1} == {
        onnx.TensorProto.FLOAT
    }


def test_the_int8_model_has_the_same_face_and_int8_convolutions_behind_the_first(
    bundle: Bundle, snapshot: Snapshot
) -> None:
    graph = onnx.load(bundle.int8_path).graph
    assert [graph.input[0].name, graph.output[0].name] == [INPUT, OUTPUT]
    kernels = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 4}
    assert [onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in kernels.values()].count(
        "INT8"
    ) == 3
    # One scale for each filter.
    scales = [tensor for tensor in graph.initializer if tensor.name.endswith("weight_scale")]
    assert [tensor.dims[0] for tensor in scales] == [16, 16, 32]
    images = snapshot.images("valid")
    exact = OnnxModel(bundle, precision="float32").logits(images)
    rounded = OnnxModel(bundle, precision="int8").logits(images)
    assert 0 < np.abs(exact - rounded).max() < 1
    assert (
        exact.argmax(axis=1) == rounded.argmax(axis=1)
    ).mean() == bundle.manifest.serving.equal_predictions


def test_no_convolution_waits_for_float32_between_two_int8_ones(bundle: Bundle, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(bundle.int8_path, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    between = kinds[kinds.index("QLinearConv") : len(kinds) - kinds[::-1].index("QLinearConv")]
    assert set(between) <= {"QLinearConv", "NhwcMaxPool", "MaxPool"}


def test_the_same_run_gives_the_same_bundle_byte_for_byte(
    bundle: Bundle, run: Run, snapshot: Snapshot, tmp_path: Path
) -> None:
    assert package(run, snapshot, bundles=tmp_path).digest == bundle.digest
    assert run_of(run.path.parent, bundle.digest) == run


def test_the_card_says_where_every_number_comes_from(bundle: Bundle, snapshot: Snapshot) -> None:
    card = (bundle.path / CARD).read_text()
    share = f"{bundle.manifest.metrics['accuracy']:.2%} (synthetic), 95 % interval"
    for needed in ("**Synthetic:", share, snapshot.id, "red, green, blue", "--profile smoke --seed 0"):
        assert needed in card


def test_another_snapshot_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="was trained on snapshot"):
        package(run, tiny_snapshot(tmp_path / "snapshots"), bundles=tmp_path / "bundles")
    assert not (tmp_path / "bundles").exists()


def test_weights_that_are_gone_or_damaged_are_refused(snapshot: Snapshot, tmp_path: Path) -> None:
    run = made_run(tmp_path / "runs", snapshot, tiny_params(), steps=1)
    weights = run.path / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(IntegrityError, match="damaged"):
        package(run, snapshot, bundles=tmp_path / "bundles")
    weights.unlink()
    with pytest.raises(UsageError, match="There is no"):
        package(run, snapshot, bundles=tmp_path / "bundles")


def test_a_model_that_answers_otherwise_is_refused() -> None:
    trained = np.zeros((4, 3), np.float32)
    check_parity(trained + np.float32(0.9 * TOLERANCE), trained)
    for packaged in (trained + np.float32(1.1 * TOLERANCE), np.full_like(trained, np.nan)):
        with pytest.raises(IntegrityError, match="not the trained network"):
            check_parity(packaged, trained)
