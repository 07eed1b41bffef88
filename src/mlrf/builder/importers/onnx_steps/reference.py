"""ONNX Runtime's own answers to a whole pipeline, for raw rows. Runs in a child process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlrf.builder.importers.onnx_steps.graph_step import Array
from mlrf.builder.importers.onnx_steps.input_table import input_table_of
from mlrf.builder.importers.onnx_trees.reference import answer_inputs
from mlrf.core.forest import F64


def answer(
    model: Path,
    rows: F64,
    prediction_rows: F64,
    settings: Mapping[str, Any],
    threads: int,  # noqa: ARG001  several add the trees in whatever order they end
) -> tuple[F64, F64, str]:
    """Return the margins of raw `rows`, the predictions of `prediction_rows`, and ONNX Runtime's version.

    The settings: those of `onnx_trees`, and `table` (the raw columns) in place of its inputs.
    """
    table = input_table_of(settings["table"])

    def inputs(rows: F64, _types: Mapping[str, str]) -> dict[str, Array]:
        found = rows.copy()
        for feature in settings["categorical"]:
            found[:, feature] = np.trunc(found[:, feature])  # as the engine reads a code
        return table.rows(found)

    return answer_inputs(model, rows, prediction_rows, settings, inputs)
