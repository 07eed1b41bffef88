"""The steps of a graph as a transformation of rows, computed operator by operator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlrf.builder.importers.onnx_steps.graph_step import Array, Step
from mlrf.builder.importers.onnx_steps.traced_graph import OPERATORS, TracedGraph
from mlrf.core.forest import F64


class GraphSteps:
    """Transforms the inputs of a graph to the columns of some of its tensors."""

    def __init__(self, traced: TracedGraph, outputs: Sequence[str]) -> None:
        """Take the names of the tensors, whose columns follow one another in the result."""
        self._constants = traced.constants
        self._outputs = outputs
        self._steps = _needed(traced.steps, outputs)

    def transform(self, inputs: dict[str, Array]) -> F64:
        """Return the columns for rows as inputs by name; ValueError for a value that a step refuses."""
        arrays = {name: array if array.ndim > 1 else array.reshape(-1, 1) for name, array in inputs.items()}
        empty = np.zeros(0)
        for step in self._steps:
            given = [arrays[name] if name in arrays else self._constants.get(name, empty) for name in step.inputs]
            arrays.update(zip(step.outputs, OPERATORS[step.operator].run(step, given), strict=False))
        return np.concatenate([arrays[name].astype(np.float64) for name in self._outputs], axis=1)


def _needed(steps: Sequence[Step], outputs: Sequence[str]) -> list[Step]:
    needed, found = set(outputs), []
    for step in reversed(steps):
        if needed.intersection(step.outputs):
            needed.update(step.inputs)
            found.append(step)
    return found[::-1]
