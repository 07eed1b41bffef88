"""Runs a graph with ONNX Runtime, or with ONNX's reference evaluator, in child processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlrf.builder.importers.imported_model import ImportedGraph
from mlrf.builder.parity.reference_runner import InfiniteAnswers, ReferenceRequest, run_reference_process
from mlrf.core.errors import BuildError
from mlrf.core.forest import F64

_ANSWERS = "mlrf.builder.importers.onnx_graph.runtime_answers"
_REFERENCE = "mlrf.builder.importers.onnx_graph.reference_answers"
_TIME_LIMIT_S = 120.0
"""For reading and running the model; a slow one answers as many rows as there is time for."""
_BUDGET_S = 2.0
_REFERENCE_LIMIT_S = 30.0
_REFERENCE_BUDGET_S = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class GraphAnswers:
    """Numbers [n, C] and the indices of the graph's own labels among its classes [n]; NaN for none."""

    numbers: F64
    labels: F64
    version: str
    infinite: InfiniteAnswers | None = None


def run_graph_reference(graph: ImportedGraph, rows: F64, infinite: F64 | None = None) -> GraphAnswers:
    """Return ONNX Runtime's answers to rows [n, F], each run alone; `infinite` are rows that hold infinities.

    ModelUnreadableError if it refuses the model; BuildError if it crashes or takes too long.
    """
    request = ReferenceRequest("onnxruntime", _ANSWERS, graph.source, {**graph.settings, "budget_s": _BUDGET_S})
    found = run_reference_process(request, rows, np.arange(len(rows)), _TIME_LIMIT_S, infinite)
    return GraphAnswers(found.margins, found.predictions[:, 0], found.version, found.infinite)


def run_reference_evaluator(graph: ImportedGraph, rows: F64) -> F64 | None:
    """Return the answers of ONNX's reference evaluator [n, C], NaN where it has none.

    None if it does not support the operators.
    """
    request = ReferenceRequest("onnx", _REFERENCE, graph.source, {**graph.settings, "budget_s": _REFERENCE_BUDGET_S})
    try:
        return run_reference_process(request, rows, np.arange(len(rows)), _REFERENCE_LIMIT_S).margins
    except BuildError:
        return None
