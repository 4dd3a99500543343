"""ONNX files that reach for more than they are: files elsewhere, code of their own, all of the memory."""

import onnx
from onnx import TensorProto, helper

from cifarops.bundle.runtime import INPUT, OUTPUT
from tests.support.bundles import COLOURS, SIZE

_OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("stranger", 1)]


def with_data_in(location: str) -> bytes:
    """Return a model whose weights, 36 bytes, lie in a file of that name."""
    weights = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=(3, 3))
    weights.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "36")):
        weights.external_data.add(key=key, value=value)
    return _model(
        [
            helper.make_node("GlobalAveragePool", [INPUT], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["means"]),
            helper.make_node("MatMul", ["means", "weights"], [OUTPUT]),
        ],
        weights,
    )


def with_foreign_operator() -> bytes:
    """Return a model whose operator only a library of its own would have."""
    return _model([helper.make_node("Anything", [INPUT], [OUTPUT], domain="stranger")])


def with_promised_weights(*dims: int) -> bytes:
    """Return a model whose weights have these dimensions and no bytes."""
    weights = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=dims, raw_data=b"")
    return _model([helper.make_node("MatMul", [INPUT, "weights"], [OUTPUT])], weights)


def _model(nodes: list[onnx.NodeProto], *weights: TensorProto) -> bytes:
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", len(COLOURS)])],
        list(weights),
    )
    content: bytes = helper.make_model(graph, opset_imports=_OPSETS, ir_version=10).SerializeToString()
    return content
