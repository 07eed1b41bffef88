"""Estimates covers that a model file lacks, by sending sample rows through its trees.

Path-dependent Shapley values need the share of training rows that took each branch. If the model file lacks them, they are
estimated from sample rows, and the manifest says so; without a sample the model cannot be explained.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mlrf.builder.importers.imported_model import ImportedModel
from mlrf.core.forest import F64, LEAF, NUMERIC, ZERO_BAND, Bool, Forest, Missing

NO_COVERS = (
    "the file does not say how many training rows took each branch, so the model cannot be explained; build it with --sample "
    "to have them estimated"
)
ESTIMATED = "the file does not say how many training rows took each branch: explanations use {} sample rows instead"
_MAX_ROWS = 10_000


def with_covers(model: ImportedModel, sampled: F64 | None) -> ImportedModel:
    """Return a model whose covers are known or marked as missing; `sampled` rows [n, F] replace what its file lacks."""
    if model.covers != "none":
        return model
    if sampled is None or not len(sampled):
        return replace(model, notes=(*model.notes, NO_COVERS))
    rows = sampled[np.unique(np.linspace(0, len(sampled) - 1, _MAX_ROWS).astype(np.int64))]
    forest = replace(model.forest, cover=routed_covers(model.forest, rows))
    return replace(model, forest=forest, covers="sample", notes=(*model.notes, ESTIMATED.format(len(rows))))


def routed_covers(forest: Forest, rows: F64) -> F64:
    """Return how many of the rows [n, F] reach each node of a forest, [N]."""
    with np.errstate(over="ignore"):
        table = rows.astype(forest.inputs).astype(np.float64)
    covers = np.zeros(forest.n_nodes)
    every = np.arange(len(table))
    for root in forest.tree_offsets[:-1].tolist():
        waiting = [(root, every)]
        while waiting:
            node, here = waiting.pop()
            covers[node] = len(here)
            if forest.feature[node] != LEAF and len(here):
                left = goes_left(forest, node, table[here, forest.feature[node]])
                waiting += [(int(forest.left[node]), here[left]), (int(forest.right[node]), here[~left])]
    return covers


def goes_left(forest: Forest, node: int, values: F64) -> Bool:
    """Return which values go left at an inner node, by the rules of the IR."""
    missing, default = np.isnan(values), bool(forest.default_left[node])
    if forest.category_set[node] != NUMERIC:
        codes = np.trunc(values)
        contained = np.isin(codes, forest.category_codes(int(forest.category_set[node]))) & (
            values > forest.no_code_up_to
        )
        return np.where(missing, default, contained)
    rule = forest.missing[node]
    if rule == Missing.NONE:
        values = np.where(missing, 0.0, values)
        missing = np.zeros(len(values), np.bool_)
    if rule == Missing.ZERO:
        missing |= np.abs(values) <= ZERO_BAND
    return np.where(missing, default, values <= forest.threshold[node])
