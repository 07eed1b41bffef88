"""The whole ONNX model as bytes: the same forest and link always give the same bytes."""

from __future__ import annotations

import base64

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mlrf.builder.onnx.columns import tested_columns
from mlrf.builder.onnx.ensemble import ML_DOMAIN, ensemble_node, operator_covers
from mlrf.builder.onnx.link import link_nodes
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64, Forest
from mlrf.core.link import Link

OPSET = 18
ML_OPSET = 5  # the first with TreeEnsemble in double
IR_VERSION = 9
INPUT, MARGIN, PREDICTION = "features", "margin", "prediction"
NODE_COVERS, LEAF_COVERS = "mlrf.node_covers", "mlrf.leaf_covers"


def export_onnx(forest: Forest, link: Link) -> bytes:
    """Return the serialised model: input `features` double [n, F], outputs `margin` and `prediction` double [n, K].

    Covers stand in the metadata, base64 of little-endian float64 in the operator's own order: it has no place for those
    of leaves, and ONNX Runtime (1.23 and 1.32 alike) refuses `nodes_hitrates` beside double thresholds, as float for its
    kernel's sake and as double for its schema's. UnsupportedModelError for a model beyond the 2 GiB of a protobuf.
    """
    if forest.rounding != "float64":
        raise UnsupportedModelError(f"the ONNX export adds leaves in float64, the model in {forest.rounding}")
    columns = tested_columns(forest, INPUT)
    margin_nodes, margin_constants = _margin(forest)
    ensemble = ensemble_node(
        columns.trees, source=columns.output, target="leaf_sum", n_outputs=forest.n_outputs, name="trees"
    )
    linked, link_constants = link_nodes(link, MARGIN, PREDICTION)
    graph = helper.make_graph(
        [*columns.nodes, ensemble, *margin_nodes, *linked],
        "mlrf",
        [helper.make_tensor_value_info(INPUT, onnx.TensorProto.DOUBLE, [None, forest.n_features])],
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, [None, forest.n_outputs])
            for name in (MARGIN, PREDICTION)
        ],
        initializer=[*columns.constants, *margin_constants, *link_constants],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(ML_DOMAIN, ML_OPSET)],
        ir_version=IR_VERSION,
        producer_name="mlrf",
    )
    node_covers, leaf_covers = operator_covers(columns.trees)
    helper.set_model_props(model, {NODE_COVERS: _base64(node_covers), LEAF_COVERS: _base64(leaf_covers)})
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except ValueError as error:
        raise UnsupportedModelError(f"the model is too large for one ONNX file: {error}") from error


def _base64(values: F64) -> str:
    return base64.b64encode(values.astype("<f8").tobytes()).decode("ascii")


def _margin(forest: Forest) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    nodes, constants, output = [], [], "leaf_sum"
    if np.any(forest.base != 0.0):
        constants.append(numpy_helper.from_array(forest.base, "base"))
        nodes.append(helper.make_node("Add", [output, "base"], ["with_base"]))
        output = "with_base"
    if forest.divisor != 1.0:
        constants.append(numpy_helper.from_array(np.array(forest.divisor), "divisor"))
        nodes.append(helper.make_node("Div", [output, "divisor"], ["divided"]))
        output = "divided"
    nodes.append(helper.make_node("Identity", [output], [MARGIN]))
    return nodes, constants
