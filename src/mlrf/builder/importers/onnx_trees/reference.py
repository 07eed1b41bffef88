"""ONNX Runtime's own answers to an ONNX file. Runs in a child process.

The file is run unchanged, except for three things that its answers do not depend on: integer inputs are declared as
floating-point inputs (rows contain thresholds and the numbers next to them), the tensor before the link becomes an
output, and for the margins `post_transform` is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from mlrf.core.forest import F64
from mlrf.core.link import Link
from mlrf.engines.quiet_onnxruntime import ort

_SILENT = 4
_LINK_ERROR = 2.0**-22
"""Tolerance for a probability that ONNX Runtime computes as 1 - p in float32."""


Inputs = Callable[[F64, Mapping[str, str]], Mapping[str, np.ndarray[Any, Any]]]
"""Makes the inputs of a graph, by name, from rows and the types that ONNX Runtime names for them."""


def answer(
    model: Path,
    rows: F64,
    prediction_rows: F64,
    settings: Mapping[str, Any],
    threads: int,  # noqa: ARG001  several add the trees in whatever order they end
) -> tuple[F64, F64, str]:
    """Return the margins of `rows`, the predictions of `prediction_rows` (categories as codes), and ONNX Runtime's version."""
    return answer_inputs(model, rows, prediction_rows, settings, lambda given, types: _inputs(given, types, settings))


def answer_inputs(
    model: Path, rows: F64, prediction_rows: F64, settings: Mapping[str, Any], inputs: Inputs
) -> tuple[F64, F64, str]:
    """Return what `answer` does, for rows that `inputs` turns into the inputs of the graph."""
    whole = onnx.load_model_from_string(model.read_bytes())
    _open_rows(whole.graph)
    for value in whole.graph.input:
        if value.name in settings["declared"]:
            value.type.tensor_type.elem_type = settings["declared"][value.name]
    predictions = _reduced(_run(whole, settings["answer"], prediction_rows, inputs), settings)
    bare = onnx.ModelProto()
    bare.CopyFrom(whole)
    for attribute in bare.graph.node[settings["index"]].attribute:
        if attribute.name == "post_transform":
            attribute.CopyFrom(
                helper.make_attribute("post_transform", 0 if attribute.type == attribute.INT else "NONE")
            )
    if settings["margin"] not in {value.name for value in bare.graph.output}:
        element = onnx.TensorProto.DOUBLE if settings["is_double"] else onnx.TensorProto.FLOAT
        bare.graph.output.append(helper.make_tensor_value_info(settings["margin"], element, None))
    margins = _reduced(_run(bare, settings["margin"], rows, inputs), settings)
    prediction_margins = _reduced(_run(bare, settings["margin"], prediction_rows, inputs), settings)
    return margins, _as_precise(predictions, prediction_margins, settings), str(ort.__version__)


def _open_rows(graph: onnx.GraphProto) -> None:
    """Allow any number of rows in a graph: trees treat each row separately, whatever number the file declares."""
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        shape = value.type.tensor_type.shape
        if shape.dim and shape.dim[0].HasField("dim_value"):
            shape.dim[0].dim_param = "rows"


def _run(model: onnx.ModelProto, output: str, rows: F64, inputs: Inputs) -> F64:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (found,) = session.run([output], inputs(rows, {each.name: each.type for each in session.get_inputs()}))
    if isinstance(found, list):  # ZipMap's output: a map of labels per row
        found = np.array([list(row.values()) for row in found])
    return np.asarray(found, np.float64).reshape(len(rows), -1)


def _inputs(rows: F64, types: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    table = rows.copy()
    for column in settings["categorical"]:
        table[:, column] = np.trunc(table[:, column])  # as the engine reads a code
    feed, first = {}, 0
    with np.errstate(over="ignore"):
        for name, width in settings["inputs"]:
            dtype = np.float64 if types[name] == "tensor(double)" else np.float32
            feed[name] = np.ascontiguousarray(table[:, first : first + width].astype(dtype))
            first += width
    return feed


def _reduced(found: F64, settings: Mapping[str, Any]) -> F64:
    """Return the columns that count: the second of two complementary ones."""
    if settings["n_outputs"] == 1 and found.shape[1] == 2:  # noqa: PLR2004  both classes
        return found[:, 1:]
    return found


def _as_precise(predictions: F64, margins: F64, settings: Mapping[str, Any]) -> F64:
    """Return the predictions, taking small probabilities from the margin.

    ONNX Runtime computes the logistic function of a negative number as 1 - p in float32, which leaves a small probability
    without digits. If it differs from the link of ONNX Runtime's own margin only by that, the latter is used.
    """
    if not settings["link"].startswith("sigmoid"):
        return predictions
    linked = np.array([Link(settings["link"]).vector()(row) for row in margins.tolist()]).reshape(margins.shape)
    return np.where(np.abs(linked - predictions) <= _LINK_ERROR, linked, predictions)
