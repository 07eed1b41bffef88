"""The answers of ONNX's reference evaluator, which is written for correctness, not speed. Runs in a child process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from onnx.reference import ReferenceEvaluator

from mlrf.builder.importers.onnx_graph.row_inputs import run_each
from mlrf.core.forest import F64


def answer(
    model: Path,
    rows: F64,
    prediction_rows: F64,  # noqa: ARG001  labels come with the numbers
    settings: Mapping[str, Any],
    threads: int,  # noqa: ARG001  it has one
) -> tuple[F64, F64, str]:
    """Return the numbers [n, C] of each row run alone, the index of its label [n, 1], and ONNX's version."""
    whole = onnx.load_model_from_string(model.read_bytes())
    requested = dict(settings)
    # The evaluator does not support ZipMap: take its input numbers, in the order of the keys.
    for node in [node for node in whole.graph.node if node.op_type == "ZipMap"]:
        if node.output[0] == requested["output"]:
            requested |= {"output": node.input[0], "keys": None}
        whole.graph.node.remove(node)
    del whole.graph.output[:]
    names = [requested["output"], *([requested["label"]] if requested["label"] else [])]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    evaluator = ReferenceEvaluator(whole)

    def run(outputs: list[str], feed: dict[str, Any]) -> list[Any]:
        return list(evaluator.run(outputs, feed))

    return *run_each(run, rows, requested), str(onnx.__version__)
