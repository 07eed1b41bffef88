"""The inputs of an ONNX model must fit the bundle's schema."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from mlrf.core.errors import BundleError
from mlrf.core.manifest import GraphEntry
from mlrf.engines.onnx_graph import GraphEngine, read_inputs
from mlrf.engines.onnxruntime import start_session


def identity(path):
    """Write a graph that answers its three columns, and return its path."""
    row = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "same",
        [row],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def test_inputs_of_another_number_of_columns_are_refused(tmp_path):
    path = identity(tmp_path / "model.onnx")
    (found,) = read_inputs(start_session(path), 3, path)
    assert (found.name, found.width) == ("x", 3)
    with pytest.raises(BundleError, match="3 columns, not 4"):
        read_inputs(start_session(path), 4, path)


def test_the_answer_is_one_of_the_graphs_outputs(tmp_path):
    path = identity(tmp_path / "model.onnx")
    assert GraphEngine(path, GraphEntry("y"), (3, 3), {}).margin([1.0, 2.0, 3.0]) == [1.0, 2.0, 3.0]
    with pytest.raises(BundleError, match="the model has no output 'z'"):
        GraphEngine(path, GraphEntry("z"), (3, 3), {})
