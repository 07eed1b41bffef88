"""Measures the difference between an imported model and its library: margins by kind of golden rows, both engines, contributions."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mlrf.builder.covers import with_covers
from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.exporters.onnx.export import export_onnx
from mlrf.builder.importers.detect import import_model
from mlrf.builder.importers.imported_model import ImportedModel, ImportOptions
from mlrf.builder.parity.exports import run_onnx, run_trees
from mlrf.builder.parity.golden_rows import KINDS, golden_rows_of
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.model.table_input import read_rows
from zoo import Grown

EXPLAINED = 40


@dataclass(frozen=True)
class Measured:
    """What the parity matrix shows of a cell."""

    rows: int
    largest_difference: float
    """Of margins, tree engine against library."""
    off: int
    """Rows whose margins are not equal to the bit."""
    flips: int
    """Of them, rows that stand on a threshold."""
    onnx_difference: float | None
    """Relative to the larger of |margin| and the mean |margin|; None where the bundle has no ONNX file."""
    contribution_difference: float | None
    """Relative to the largest sum of |contributions|; None where the library has none."""
    additivity: float


def measure(grown: Grown, most: int = 3_000) -> Measured:
    """Compare a fitted model's export with the model."""
    model = import_model(grown.model, ImportOptions(grown.categories))
    if not grown.has_covers:
        model = with_covers(model, grown.rows)
    golden = golden_rows_of(model, None)
    chosen = np.unique(np.linspace(0, len(golden.rows) - 1, most).astype(int))
    rows, kinds = golden.rows.take(chosen).dense(), golden.kinds[chosen]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        path.write_bytes(model.source)
        answer = import_module(model.answers).answer
        expected, _, _ = answer(path, rows, rows[:1], dict(model.settings), 1)
    expected = np.asarray(expected, np.float64).reshape(len(rows), -1)
    kept = np.unique(np.linspace(0, len(rows) - 1, 200).astype(int))
    trees = run_trees(encode_forest(model.forest), rows, kept)
    whole = 0 if grown.whole is None else _rows_off_whole(grown.whole, model)
    margins = model.library_margins(trees.margins)
    off = ~np.all((margins == expected) | (np.isnan(margins) & np.isnan(expected)), axis=1)
    onnx_difference = None
    if model.forest.tables is None and model.forest.linear is None and model.combination is None:
        onnx, _ = run_onnx(export_onnx(model.forest, model.link), rows)
        size = np.maximum(np.abs(expected), np.mean(np.abs(expected)))
        onnx_difference = float(np.max(np.abs(onnx - expected) / np.maximum(size, 1e-300)))
    # An exporter's thresholds are the nearest float32: only the training rows are known to take the same sides.
    free = rows[kinds == KINDS.index("random")] if grown.has_covers else grown.rows
    return Measured(
        rows=len(rows),
        largest_difference=float(np.max(np.abs(margins - expected))),
        off=int(np.count_nonzero(off)) + whole,
        flips=int(np.count_nonzero(off & (kinds == KINDS.index("threshold")))),
        onnx_difference=onnx_difference,
        contribution_difference=_contribution_difference(grown, model, free[:EXPLAINED]),
        additivity=trees.additivity_gap,
    )


def _rows_off_whole(whole: tuple[Any, np.ndarray], model: ImportedModel) -> int:
    """Return how many rows of a raw table are not answered as the model itself, asked about the table, answers."""
    table, answers = whole
    rows = read_rows(Schema(model.features), table, Leniency("ignore"))
    margins = model.margins(run_trees(encode_forest(model.forest), rows, np.arange(1)).margins, rows)
    linked = np.array([model.link.vector()(row) for row in margins.tolist()])
    limit = 1e-6 if model.forest.rounding == "float32" else 1e-12
    return int(
        np.count_nonzero(np.abs(linked - answers.reshape(len(rows), -1)).max(axis=1) > limit * np.abs(answers).max())
    )


def _contribution_difference(grown: Grown, model: ImportedModel, rows: np.ndarray) -> float | None:
    if grown.contributions is None:
        return None
    table = np.ascontiguousarray(rows)
    contributions = grown.contributions(table)
    if contributions is None:
        return None
    served = run_trees(encode_forest(model.forest), table, np.arange(len(table)))
    whole = np.concatenate([served.contributions, np.tile(served.base, (len(table), 1, 1))], axis=1)
    return float(np.max(np.abs(whole - contributions)) / max(1.0, float(np.abs(contributions).sum(axis=1).max())))
