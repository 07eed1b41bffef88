"""The parity gate of a graph: the engine must answer every golden row as ONNX Runtime answers the user's file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from onnx import TensorProto

from mlrf.builder.importers.imported_model import ImportedGraph
from mlrf.builder.importers.onnx_graph.graph_runner import (
    GraphAnswers,
    run_graph_reference,
    run_reference_evaluator,
)
from mlrf.builder.importers.onnx_graph.semantics import Meaning, class_at_half
from mlrf.builder.parity.comparison import compare, refuse, report
from mlrf.builder.parity.golden_rows import KINDS, GoldenRows
from mlrf.builder.parity.infinity_probe import MAX_BACKGROUNDS, InfinityRows, infinity_rows, with_infinities
from mlrf.builder.parity.reference_runner import InfiniteAnswers
from mlrf.builder.temporary_folder import temporary_folder
from mlrf.core.errors import ModelUnreadableError
from mlrf.core.forest import F64, I64, Bool
from mlrf.core.manifest import ONNX_MODEL, GraphEntry, ParityRows
from mlrf.core.schema import Schema
from mlrf.engines.onnx_graph import GraphEngine

REFERENCE = "onnx reference"
_REFERENCE_ROWS = 48
_ALONE_ROWS = 100
_REFERENCE_LIMIT = 1e-4
_REPLAY_S = 1.0
_LEAST_REPLAYED = 16
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class GraphProof:
    """The result of the gate, and the golden rows for the bundle."""

    parity: dict[str, dict[str, ParityRows]]
    version: str
    """Of ONNX Runtime."""
    class_at_half: Literal[0, 1]
    kinds: list[str]
    rows: F64
    """[n, F]"""
    margins: F64
    """[n, K]"""
    n_replayed: int
    """How many of them a server replays before it serves, because they take time."""
    notes: tuple[str, ...]
    schema: Schema
    """With what the graph does with infinities."""


def prove_graph(
    graph: ImportedGraph, schema: Schema, meaning: Meaning, entry: GraphEntry, golden: GoldenRows, progress: Progress
) -> GraphProof:
    """Compare the engine with the file itself; ParityError says on which rows they differ."""
    progress("asking onnxruntime", 0.0)
    infinite = infinity_rows(schema.features, golden.rows.dense(0, MAX_BACKGROUNDS), is_single=_is_single(graph))
    answers = run_graph_reference(graph, golden.rows.dense(), infinite.rows)
    progress("asking onnxruntime", 1.0)
    golden, answers = _answered(golden, answers)
    at_half = class_at_half(meaning, answers)
    expected = meaning.margins(answers.numbers)
    progress("running the engine", 0.0)
    together, alone, row_s = _served(graph, schema, entry, golden.rows.dense(), expected.shape[1])
    progress("running the engine", 1.0)
    some = _spread(len(golden.rows), _ALONE_ROWS)
    for what, got, kept in (("margin", together, np.arange(len(together))), ("margin of a single row", alone, some)):
        verdict = compare(expected[kept], got, relative=0.0)
        if np.any(verdict.off):
            raise refuse(what, "onnxruntime", golden.take(kept), verdict, expected[kept], got, schema)
    parity = {GraphEngine.name: report(golden, compare(expected, together, relative=0.0))}
    by_reference, notes = _check_by_reference_evaluator(graph, meaning, golden, expected)
    return GraphProof(
        parity=parity | by_reference,
        version=answers.version,
        class_at_half=1 if at_half else 0,
        kinds=[KINDS[number] for number in golden.kinds],
        rows=golden.rows.dense(),
        margins=expected,
        n_replayed=max(_LEAST_REPLAYED, int(_REPLAY_S / max(row_s, 1e-9))),
        notes=notes,
        schema=_with_infinities(graph, schema, entry, meaning, infinite, answers.infinite),
    )


def _with_infinities(
    graph: ImportedGraph,
    schema: Schema,
    entry: GraphEntry,
    meaning: Meaning,
    probed: InfinityRows,
    found: InfiniteAnswers | None,
) -> Schema:
    """Return the schema with what the graph does with infinities; an answer that is not finite counts as a refusal."""
    is_single = _is_single(graph)
    answered = np.zeros(len(probed.rows), np.bool_)
    if found is None or not np.any(found.answered):
        return with_infinities(schema, probed, answered, lambda _: answered, is_single=is_single)
    answered = found.answered & np.all(np.isfinite(found.margins), axis=1)
    expected = meaning.margins(found.margins)

    def agrees(rows: F64) -> Bool:
        same = np.zeros(len(rows), np.bool_)
        indices = np.flatnonzero(answered)
        got, _, _ = _served(graph, schema, entry, rows[indices], expected.shape[1])
        same[indices] = ~compare(expected[indices], got, relative=0.0).off
        return same

    return with_infinities(schema, probed, answered, agrees, is_single=is_single)


def _is_single(graph: ImportedGraph) -> bool:
    return any(element == TensorProto.FLOAT for _, element, _, _ in graph.settings["inputs"])


def _answered(golden: GoldenRows, answers: GraphAnswers) -> tuple[GoldenRows, GraphAnswers]:
    """Return the rows that have a finite answer; the others cannot be verified."""
    kept = np.flatnonzero(np.all(np.isfinite(answers.numbers), axis=1))
    if not len(kept):
        raise ModelUnreadableError("the ONNX model has no finite answer to any golden row")
    return golden.take(kept), replace(answers, numbers=answers.numbers[kept], labels=answers.labels[kept])


def _served(
    graph: ImportedGraph, schema: Schema, entry: GraphEntry, rows: F64, n_outputs: int
) -> tuple[F64, F64, float]:
    """Return the engine's answers to all rows in a batch, to some one by one, and the seconds per row."""
    lists = {i: f.categories for i, f in enumerate(schema.features) if f.categories is not None}
    with temporary_folder("parity") as folder:
        path = folder / ONNX_MODEL
        path.write_bytes(graph.source)
        engine = GraphEngine(path, entry, (rows.shape[1], n_outputs), lists)
        together = np.frombuffer(engine.margins(rows.data), dtype=np.float64).reshape(len(rows), -1)
        singles = rows[_spread(len(rows), _ALONE_ROWS)].tolist()
        started = time.perf_counter()
        alone = np.array([engine.margin(row) for row in singles]).reshape(len(singles), -1)
        return together, alone, (time.perf_counter() - started) / len(singles)


def _check_by_reference_evaluator(
    graph: ImportedGraph, meaning: Meaning, golden: GoldenRows, expected: F64
) -> tuple[dict[str, dict[str, ParityRows]], tuple[str, ...]]:
    """Return the difference to ONNX's reference evaluator on some of the rows, and notes about it.

    It decides nothing: it lacks operators, and users compare with ONNX Runtime.
    """
    some = _spread(len(golden.rows), _REFERENCE_ROWS)
    numbers = run_reference_evaluator(graph, golden.rows.take(some).dense())
    if numbers is None:
        return {}, ("ONNX's reference evaluator cannot run this graph, so it is verified against ONNX Runtime only",)
    tried = np.flatnonzero(np.all(np.isfinite(numbers), axis=1))
    if not len(tried) or numbers.shape[1] < expected.shape[1]:
        return {}, (
            "ONNX's reference evaluator returns another number of values, so the graph is verified against ONNX Runtime only",
        )
    part, computed = golden.take(some[tried]), meaning.margins(numbers[tried])
    verdict = compare(expected[some[tried]], computed, relative=_REFERENCE_LIMIT)
    notes: tuple[str, ...] = ()
    if np.any(verdict.off):
        difference = (
            f"{int(np.sum(verdict.off))} of {len(tried)} rows differently (by {float(np.max(verdict.difference)):.3g})"
        )
        notes = (f"ONNX's reference evaluator answers {difference} than ONNX Runtime, whose answers are served",)
    return {REFERENCE: report(part, verdict)}, notes


def _spread(n_rows: int, most: int) -> I64:
    return np.unique(np.linspace(0, n_rows - 1, most).astype(np.int64))
