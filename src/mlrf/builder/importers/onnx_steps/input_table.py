"""Rows of numbers and codes as the typed inputs of an ONNX graph.

An integer input gets the integer below a number (towards zero, and within the type's range), a boolean one whether it is
positive: both never decrease, so that cut points exist. A missing string is the empty one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from mlrf.builder.importers.onnx_graph.inputs import Input
from mlrf.builder.importers.onnx_steps.graph_step import Array
from mlrf.builder.importers.pipeline.raw_table import RawColumn, RawTable
from mlrf.core.forest import F64

_UNLISTED = "a string that no encoder lists"
_LARGEST_INTEGER = 2.0**63 - 1024
"""The largest float64 below 2^63."""


@dataclass(frozen=True, slots=True)
class InputTable(RawTable):
    """The raw columns of a graph, input by input."""

    inputs: tuple[Input, ...] = ()

    def settings(self) -> dict[str, Any]:
        """Return this table's layout as JSON values."""
        return {
            "columns": [asdict(column) for column in self.columns],
            "no_code_up_to": self.no_code_up_to,
            "inputs": [[each.name, each.element, each.width, each.is_flat] for each in self.inputs],
        }

    def rows(self, rows: F64) -> dict[str, Array]:
        """Return rows [n, F] over the used columns as the graph's inputs, by name."""
        given = iter(rows.T)
        columns = iter(
            [self._values(column, next(given)) if column.is_used else np.zeros(len(rows)) for column in self.columns]
        )
        arrays = {}
        for each in self.inputs:
            part = [_typed(next(columns), each.element) for _ in range(each.width)]
            arrays[each.name] = part[0] if each.is_flat else np.column_stack(part)
        return arrays


def input_table(inputs: Sequence[Input], columns: Sequence[RawColumn], no_code_up_to: float) -> InputTable:
    """Return the table of a graph's inputs."""
    return InputTable(tuple(columns), False, no_code_up_to, tuple(inputs))


def input_table_of(settings: dict[str, Any]) -> InputTable:
    """Return the table whose `settings()` these are."""
    return input_table(
        [Input(*each) for each in settings["inputs"]],
        [RawColumn(**column) for column in settings["columns"]],
        settings["no_code_up_to"],
    )


def _typed(values: Any, element: int) -> Array:
    """Return values of one column in an input's type; ValueError for a missing one that the type does not have."""
    if element == TensorProto.STRING:
        return _texts(values)
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(element))
    numbers = np.asarray(values, np.float64)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return numbers.astype(dtype)
    if np.any(np.isnan(numbers)):
        raise ValueError("an integer or boolean input has no missing value")
    if dtype.kind == "b":
        return numbers > 0
    limits = np.iinfo(dtype)
    least, most = max(float(limits.min), -_LARGEST_INTEGER), min(float(limits.max), _LARGEST_INTEGER)
    return np.clip(np.trunc(numbers), least, most).astype(dtype)


def _texts(values: Any) -> Array:
    found = np.empty(len(values), object)
    # The table marks an unlisted value by a text that begins with a NUL, where a C string would end.
    found[:] = [
        "" if not isinstance(value, str) else _UNLISTED if value.startswith("\0") else value
        for value in values.tolist()
    ]
    return found
