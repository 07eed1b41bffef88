"""Compares an imported model with its own library: margins to the bit, predictions through the link, contributions that add up."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np

from mlrf.builder.exporters.forest_file.encode import encode_forest
from mlrf.builder.exporters.onnx.export import export_onnx
from mlrf.builder.importers.imported_model import ImportedModel
from mlrf.builder.parity.exports import run_onnx
from mlrf.builder.parity.golden_rows import golden_rows_of
from mlrf.engines.tree_kernel import TreeEngine


def rows_of(model: ImportedModel, most: int = 4_000) -> np.ndarray:
    """Golden rows: random ones, and those that stand on the edges of nodes."""
    rows = golden_rows_of(model, None).rows.dense()
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(int))]


def assert_library_agrees(
    model: ImportedModel, folder: Path, *, onnx: bool = True, most: int = 4_000, link_limit: float = 1e-9
) -> TreeEngine:
    """Run the library in this process, as the gate does in a child process; returns the engine."""
    rows = rows_of(model, most)
    (folder / "model").write_bytes(model.source)
    (folder / "forest.bin").write_bytes(encode_forest(model.forest))
    margins, predictions, version = import_module(model.answers).answer(
        folder / "model", rows, rows[:200], dict(model.settings), 1
    )
    margins, predictions = margins.reshape(len(rows), -1), predictions.reshape(200, -1)
    assert version
    engine = TreeEngine(folder / "forest.bin")
    got = np.array(engine.margins(np.ascontiguousarray(rows))).reshape(len(rows), -1)
    off = np.flatnonzero(np.any(got != margins, axis=1))
    assert not len(off), f"{len(off)} of {len(rows)}: {rows[off[0]].tolist()} {got[off[0]]} {margins[off[0]]}"
    for row, margin in zip(rows[-20:].tolist(), got[-20:].tolist(), strict=True):
        assert engine.margin(row) == margin
    linked = [model.link.vector()(row) for row in margins[:200].tolist()]
    np.testing.assert_allclose(linked, predictions, rtol=link_limit, atol=1e-300 if link_limit == 1e-9 else link_limit)
    few = np.ascontiguousarray(rows[-30:])
    contributions = np.array(engine.contributions_many(few)).reshape(30, rows.shape[1], -1)
    sums = contributions.sum(axis=1) + np.array(engine.base)
    sizes = np.maximum(1.0, np.abs(contributions).sum(axis=1) + np.abs(engine.base))
    assert np.all(np.abs(sums - got[-30:]) <= 1e-9 * sizes)
    if onnx:
        np.testing.assert_allclose(
            run_onnx(export_onnx(model.forest, model.link), rows)[0], margins, rtol=1e-6, atol=1e-9
        )
    return engine


def contributions(engine: TreeEngine, rows: np.ndarray) -> np.ndarray:
    """[n, F, K]"""
    return np.array(engine.contributions_many(np.ascontiguousarray(rows))).reshape(*rows.shape, -1)
