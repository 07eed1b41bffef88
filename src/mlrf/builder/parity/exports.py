"""Computes the exports' answers: of the ONNX model with plain ONNX Runtime, and of the forest file with the tree engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.parity.sparse_rows import SparseRows, as_sparse
from mlrf.builder.temporary_folder import temporary_folder
from mlrf.core.errors import BuildError
from mlrf.core.forest import F64, I64, Forest
from mlrf.core.manifest import FOREST
from mlrf.engines.tree_kernel import TreeEngine
from mlrf.model.explanation import additivity_gap

_CHUNK_ROWS = 128  # rank columns are wide: larger chunks fall out of the cache
_SILENT = 4


def run_onnx(
    model: bytes, rows: F64 | SparseRows, progress: Callable[[float], None] = lambda _: None
) -> tuple[F64, F64]:
    """Return margins and predictions [n, K] of rows [n, F]; BuildError if ONNX Runtime refuses the model."""
    from mlrf.builder.exporters.onnx.export import INPUT, MARGIN, PREDICTION  # noqa: PLC0415  with the package onnx
    from mlrf.engines.quiet_onnxruntime import ort  # noqa: PLC0415  it is an extra

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _SILENT
    margins, predictions = [], []
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        for first, table in as_sparse(rows).blocks():
            for start in range(0, len(table), _CHUNK_ROWS):
                margin, prediction = session.run([MARGIN, PREDICTION], {INPUT: table[start : start + _CHUNK_ROWS]})
                margins.append(margin)
                predictions.append(prediction)
                progress((first + start) / len(rows))
    except Exception as error:  # ONNX Runtime has no error class of its own to catch
        raise BuildError(f"ONNX Runtime {ort.__version__} refuses the exported model: {error}") from error
    return np.concatenate(margins), np.concatenate(predictions)


def tree_margins(forest: Forest, rows: F64) -> F64:
    """Return the tree engine's margins [n, K] of rows [n, F]."""
    with temporary_folder("parity") as folder:
        path = folder / FOREST
        path.write_bytes(encode_forest(forest))
        found = np.frombuffer(TreeEngine(path).margins(np.ascontiguousarray(rows).data), dtype=np.float64)
    return found.reshape(len(rows), -1)


@dataclass(frozen=True, slots=True, eq=False)
class TreesRun:
    """The tree engine's answers for each way of calling it."""

    margins: F64
    """[n, K] of all rows, as a batch."""
    single: F64
    """[m, K] of the kept rows, one by one."""
    contributions: F64 | None
    """[m, F, K] of the kept rows, as a batch; None for linear leaves, which have none."""
    base: list[float]
    """[K]"""

    @property
    def additivity_gap(self) -> float:
        """How far base and contributions are from the margins, relative to their size; 0 without contributions."""
        return 0.0 if self.contributions is None else additivity_gap(self.single, self.contributions, self.base)


def run_trees(forest_file: bytes, rows: F64 | SparseRows, kept: I64) -> TreesRun:
    """Return the tree engine's answers to rows [n, F], and to the kept ones of them; BundleError if it refuses the file."""
    given = as_sparse(rows)
    with temporary_folder("parity") as folder:
        path = folder / FOREST
        path.write_bytes(forest_file)
        engine = TreeEngine(path)
        together = [np.frombuffer(engine.margins(table.data), dtype=np.float64) for _, table in given.blocks()]
        part = given.take(kept).dense()
        contributions = None
        if not engine.has_linear_leaves:
            contributions = np.frombuffer(engine.contributions_many(part.data), dtype=np.float64)
            contributions = contributions.reshape(len(part), given.n_features, -1)
        return TreesRun(
            margins=np.concatenate(together).reshape(len(given), -1),
            single=np.array([engine.margin(row.tolist()) for row in part]).reshape(len(part), -1),
            contributions=contributions,
            base=engine.base,
        )
