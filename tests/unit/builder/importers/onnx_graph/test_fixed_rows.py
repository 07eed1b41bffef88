"""ONNX files with a fixed number of rows are served when it is one, and refused in a full sentence otherwise."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mlrf
from mlrf.core.errors import UnsupportedModelError


def written(tmp_path, n_rows):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [n_rows, 3])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [n_rows, 1])]
    weights = numpy_helper.from_array(np.ones((3, 1), np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", inputs, outputs, [weights])
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(whole, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_one_row_at_a_time_is_served_in_batches_too(tmp_path):
    model = mlrf.load(mlrf.build(written(tmp_path, 1), tmp_path / "b", name="m"))
    np.testing.assert_array_equal(model.predict(np.ones((4, 3))), np.full(4, 3.0))


def test_several_rows_at_a_time_are_refused_with_the_remedy(tmp_path):
    with pytest.raises(UnsupportedModelError, match=r"'x' .* takes 5 rows at a time; export it with a variable number"):
        mlrf.build(written(tmp_path, 5), tmp_path / "b", name="m")
