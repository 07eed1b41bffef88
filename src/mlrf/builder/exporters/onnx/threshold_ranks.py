"""Replaces columns of float64 by their ranks among thresholds, for trees that are summed in float32.

ONNX's `TreeEnsemble` tests and sums in the same precision. If a model adds in float32 but its columns are float64 (a folded
pipeline around XGBoost), each tested column is replaced by the number of its thresholds below the value, which a tree in
float64 computes. These are small integers, which float32 represents exactly.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from mlrf.builder.exporters.onnx.ensemble import FlatTrees, ensemble_node
from mlrf.core.forest import LEAF


def threshold_ranks(
    trees: FlatTrees, source: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto], str, FlatTrees]:
    """Return the operators that convert columns `source` [n, C] to ranks, their constants, their output, and its trees."""
    inner = trees.feature != LEAF
    columns = np.unique(trees.feature[inner])
    threshold, feature = trees.threshold.copy(), trees.feature.copy()
    builder = _RankTrees()
    for index, column in enumerate(columns.tolist()):
        tests = inner & (trees.feature == column)
        edges, ranks = np.unique(trees.threshold[tests] + 0.0, return_inverse=True)
        threshold[tests], feature[tests] = ranks.reshape(-1), index
        builder.add(column, edges, index)
    if not len(columns):
        return [], [], source, trees
    constants = [
        numpy_helper.from_array(columns.astype(np.int64), "ranked_columns"),
        numpy_helper.from_array(np.array(np.nan), "no_rank"),
    ]
    nodes = [
        ensemble_node(builder.trees(), source=source, target="plain_ranks", n_outputs=len(columns), name="thresholds"),
        helper.make_node("Gather", [source, "ranked_columns"], ["ranked"], axis=1),
        helper.make_node("IsNaN", ["ranked"], ["is_missing"]),
        helper.make_node("Where", ["is_missing", "no_rank", "plain_ranks"], ["threshold_ranks"]),
    ]
    return nodes, constants, "threshold_ranks", replace(trees, threshold=threshold, feature=feature)


class _RankTrees:
    """One balanced tree per column; a leaf is the number of thresholds below the values that reach it."""

    def __init__(self) -> None:
        self._roots: list[int] = []
        self._nodes: list[list[float]] = []
        """Column, threshold, left, right, value and output of each node."""

    def add(self, column: int, edges: npt.NDArray[np.float64], output: int) -> None:
        """Add the tree of one column."""
        self._roots.append(len(self._nodes))
        waiting = [(0, len(edges), LEAF, 0)]
        while waiting:
            low, high, parent, side = waiting.pop()
            number = len(self._nodes)
            if parent != LEAF:
                self._nodes[parent][side] = number
            if low == high:
                self._nodes.append([LEAF, 0.0, LEAF, LEAF, low, output])
                continue
            middle = (low + high) // 2
            self._nodes.append([column, float(edges[middle]), LEAF, LEAF, 0.0, output])
            waiting += [(middle + 1, high, number, 3), (low, middle, number, 2)]

    def trees(self) -> FlatTrees:
        """Return the trees."""
        feature, threshold, left, right, value, output = (np.array(column) for column in zip(*self._nodes, strict=True))
        return FlatTrees(
            roots=np.array(self._roots, np.int64),
            feature=feature.astype(np.int64),
            threshold=threshold.astype(np.float64),
            left=left.astype(np.int64),
            right=right.astype(np.int64),
            nan_left=np.ones(len(feature), np.bool_),
            value=value.astype(np.float64),
            output=output.astype(np.int64),
        )
