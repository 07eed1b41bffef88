"""Exports the complete ONNX model as bytes; the same forest and link always give the same bytes."""

from __future__ import annotations

import base64

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mlrf.builder.exporters.onnx.ensemble import ML_DOMAIN, ensemble_node, operator_covers, with_first_leaves
from mlrf.builder.exporters.onnx.link_operators import link_nodes
from mlrf.builder.exporters.onnx.tested_columns import tested_columns
from mlrf.builder.exporters.onnx.threshold_ranks import threshold_ranks
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

    Covers are in the metadata, as base64 of little-endian float64 in the operator's own order: it has no attribute for those
    of leaves, and ONNX Runtime (both 1.23 and 1.32) refuses `nodes_hitrates` with double thresholds: as float because of its
    kernel and as double because of its schema. UnsupportedModelError for a model beyond the 2 GiB of a protobuf.
    """
    rounding, features = _rounded(forest)
    columns = tested_columns(forest, features)
    trees = columns.trees
    if forest.base_order == "first" and np.any(forest.base != 0.0):
        trees = with_first_leaves(trees, forest.base)
    source = columns.output
    nodes, constants = list(columns.nodes), list(columns.constants)
    if forest.rounding == "float32" and forest.inputs == "float64":
        rank_nodes, rank_constants, source, trees = threshold_ranks(trees, source)
        nodes += rank_nodes
        constants += rank_constants
    if forest.rounding == "float32":
        rounding_of_columns = helper.make_node("Cast", [source], ["tested_in_float32"], to=onnx.TensorProto.FLOAT)
        nodes.append(rounding_of_columns)
        source = "tested_in_float32"
    ensemble = ensemble_node(
        trees, source=source, target="leaf_sum", n_outputs=forest.n_outputs, name="trees", precision=forest.rounding
    )
    margin_nodes, margin_constants = _margin(forest)
    linked, link_constants = link_nodes(link, MARGIN, PREDICTION)
    graph = helper.make_graph(
        [*rounding, *nodes, ensemble, *margin_nodes, *linked],
        "mlrf",
        [helper.make_tensor_value_info(INPUT, onnx.TensorProto.DOUBLE, [None, forest.n_features])],
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, [None, forest.n_outputs])
            for name in (MARGIN, PREDICTION)
        ],
        initializer=[*constants, *margin_constants, *link_constants],
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(ML_DOMAIN, ML_OPSET)],
        ir_version=IR_VERSION,
        producer_name="mlrf",
    )
    node_covers, leaf_covers = operator_covers(trees)
    helper.set_model_props(model, {NODE_COVERS: _base64(node_covers), LEAF_COVERS: _base64(leaf_covers)})
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except ValueError as error:
        raise UnsupportedModelError(f"the model is too large for one ONNX file: {error}") from error


def _base64(values: F64) -> str:
    return base64.b64encode(values.astype("<f8").tobytes()).decode("ascii")


def _rounded(forest: Forest) -> tuple[list[onnx.NodeProto], str]:
    """Return the operators that round the input as the library does, and the resulting tensor."""
    if forest.inputs == "float64":
        return [], INPUT
    down = helper.make_node("Cast", [INPUT], ["features_in_float32"], to=onnx.TensorProto.FLOAT)
    up = helper.make_node("Cast", ["features_in_float32"], ["rounded_features"], to=onnx.TensorProto.DOUBLE)
    return [down, up], "rounded_features"


def _margin(forest: Forest) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return the operators that finish the sum: division, scale and a base that is added last, in the precision of the sum."""
    steps = [("Div", "divisor", np.array(forest.divisor), forest.divisor != 1.0)]
    steps.append(("Mul", "scale", np.array(forest.scale), forest.scale != 1.0))
    steps.append(("Add", "base", forest.base, forest.base_order == "last"))
    nodes, constants, output = [], [], "leaf_sum"
    for operator, name, value, is_needed in steps:
        if is_needed:
            constants.append(numpy_helper.from_array(value.astype(forest.rounding), name))
            nodes.append(helper.make_node(operator, [output, name], [f"after_{name}"]))
            output = f"after_{name}"
    if forest.rounding == "float32":
        nodes.append(helper.make_node("Cast", [output], [MARGIN], to=onnx.TensorProto.DOUBLE))
    else:
        nodes.append(helper.make_node("Identity", [output], [MARGIN]))
    return nodes, constants
