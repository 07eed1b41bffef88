"""The trees of a treelite checkpoint as those of the IR.

GTIL rounds a row to the precision of the model. `x < t` is `x <=` the number below t; > and >= have their children exchanged. A
leaf adds one number to one output, or a vector to all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.builder.importers.join_trees import CategorySet, TreeArrays
from mlrf.builder.importers.treelite.checkpoint import Checkpoint, Nodes
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.forest import F64, LEAF, NUMERIC, Bool, below32

I64 = npt.NDArray[np.int64]
_LEAF_NODE, _CATEGORY_NODE = 0, 2
_LT, _LE, _GT, _GE = 2, 3, 4, 5
_MAX_CATEGORY = 1 << 31


@dataclass(slots=True)
class TreeReader:
    """Reads the trees of a checkpoint; collects the category sets that they share."""

    checkpoint: Checkpoint
    n_outputs: int
    sets: dict[CategorySet, int] = field(default_factory=dict)
    greatest_codes: dict[int, int] = field(default_factory=dict)
    """By column that a node tests for categories: the greatest code in a list."""
    has_covers: bool = True

    def read(self) -> list[TreeArrays]:
        """Return the trees in order; ModelUnreadableError if one is invalid."""
        return [self._tree(nodes, index) for index, nodes in enumerate(self.checkpoint.trees)]

    def _tree(self, nodes: Nodes, index: int) -> TreeArrays:
        order = self._level_order(nodes, index)
        position = np.full(len(nodes.left), LEAF, np.int64)
        position[order] = np.arange(len(order))
        is_leaf = nodes.left[order] == LEAF
        kinds, operators = nodes.node_type[order], nodes.operator[order]
        if np.any((kinds == _LEAF_NODE) != is_leaf) or np.any(kinds > _CATEGORY_NODE):
            raise self._damaged(index, "a node is of an unknown type")
        is_category = kinds == _CATEGORY_NODE
        feature = nodes.feature[order].astype(np.int64)
        if np.any(~is_leaf & ((feature < 0) | (feature >= self.checkpoint.n_features))):
            raise self._damaged(index, "a node tests a feature that does not exist")
        threshold, goes_back = self._thresholds(nodes, order, operators, ~is_leaf & ~is_category, index)
        exchanged = np.where(is_category, nodes.list_goes_right[order] != 0, goes_back) & ~is_leaf
        left, right = (position[np.where(is_leaf, 0, side[order])] for side in (nodes.left, nodes.right))
        values, outputs = self._values(nodes, order[is_leaf], index)
        all_values = np.zeros((len(order), values.shape[1]))
        all_values[is_leaf] = values
        return TreeArrays(
            feature=np.where(is_leaf, LEAF, feature).astype(np.int32),
            threshold=threshold,
            left=np.where(is_leaf, LEAF, np.where(exchanged, right, left)).astype(np.int32),
            right=np.where(is_leaf, LEAF, np.where(exchanged, left, right)).astype(np.int32),
            default_left=~is_leaf & ((nodes.default_left[order] != 0) != exchanged),
            values=all_values,
            cover=self._cover(nodes, order, is_leaf, left, right),
            outputs=outputs,
            category_set=self._category_sets(nodes, order, is_category, feature, index),
            leaf_numbers=order.astype(np.int32),
        )

    def _thresholds(
        self, nodes: Nodes, order: I64, operators: npt.NDArray[Any], is_numeric: Bool, index: int
    ) -> tuple[F64, Bool]:
        """Return t of `x <= t` for each node, and whether the side that it sends such x to is the right child."""
        tests = operators[is_numeric]
        if np.any((tests < _LT) | (tests > _GE)):
            raise UnsupportedModelError(
                f"tree {index} of the treelite checkpoint compares by another operator than <, <=, > and >=, which mlrf does "
                "not support"
            )
        threshold = np.where(is_numeric, nodes.threshold[order].astype(np.float64), 0.0)
        if np.any(np.isnan(threshold)):
            raise self._damaged(index, "a threshold is not a number")
        is_single = self.checkpoint.precision.itemsize == np.dtype(np.float32).itemsize
        below = below32(threshold) if is_single else np.nextafter(threshold, -np.inf)
        # x >= t goes left where x < t goes right.
        is_strict = (operators == _LT) | (operators == _GE)
        return np.where(is_numeric & is_strict, below, threshold), (operators == _GT) | (operators == _GE)

    def _values(self, nodes: Nodes, leaves: I64, index: int) -> tuple[F64, tuple[int, ...]]:
        """Return what each leaf adds, [leaves, K], and to which outputs."""
        target, class_ = int(self.checkpoint.target[index]), int(self.checkpoint.class_[index])
        size = self.n_outputs if LEAF in (target, class_) else 1
        begin, end = nodes.vector_begin[leaves], nodes.vector_end[leaves]
        if np.all(begin == end) and size == 1:
            values = nodes.leaf_value[leaves].astype(np.float64)[:, None]
        elif np.all(end - begin == size) and np.all(end <= len(nodes.vectors)):
            values = nodes.vectors[begin.astype(np.int64)[:, None] + np.arange(size)].astype(np.float64)
        else:
            raise self._damaged(index, f"its leaves do not have {size} values each")
        if size > 1:
            return values, tuple(range(size))
        # One target of several classes, or several targets of one class each.
        output = class_ if self.checkpoint.n_targets == 1 else target
        if not 0 <= output < self.n_outputs:
            raise self._damaged(index, f"it adds to output {output} of {self.n_outputs}")
        return values, (output,)

    def _category_sets(
        self, nodes: Nodes, order: I64, is_category: Bool, feature: I64, index: int
    ) -> npt.NDArray[np.int32]:
        numbers = np.full(len(order), NUMERIC, np.int32)
        for position in np.flatnonzero(is_category).tolist():
            node = int(order[position])
            begin, end = int(nodes.categories_begin[node]), int(nodes.categories_end[node])
            if not begin <= end <= len(nodes.categories):
                raise self._damaged(index, "a list of categories ends early")
            codes = np.unique(nodes.categories[begin:end])
            if len(codes) and codes[-1] >= _MAX_CATEGORY:
                raise UnsupportedModelError(f"tree {index} of the treelite checkpoint has a category beyond 31 bits")
            numbers[position] = self.sets.setdefault(tuple(codes.tolist()), len(self.sets))
            column = int(feature[position])
            most = int(codes[-1]) if len(codes) else -1
            self.greatest_codes[column] = max(self.greatest_codes.get(column, -1), most)
        return numbers

    def _cover(self, nodes: Nodes, order: I64, is_leaf: Bool, left: I64, right: I64) -> F64:
        """Return the rows, or the sums of hessians, that reached each node; of inner nodes the sum of their children's."""
        known = nodes.data_count if nodes.data_count is not None else nodes.sum_hess
        if known is None:
            self.has_covers = False
            return np.zeros(len(order))
        cover = np.where(is_leaf, known[order].astype(np.float64), 0.0)
        for node in np.flatnonzero(~is_leaf)[::-1].tolist():
            cover[node] = cover[left[node]] + cover[right[node]]
        return cover

    def _level_order(self, nodes: Nodes, index: int) -> I64:
        """Return the nodes that the root reaches, parents first."""
        n = len(nodes.left)
        levels, level, count = [], np.zeros(1, np.int64), 0
        if n == 0:
            raise self._damaged(index, "it has no nodes")
        while len(level):
            levels.append(level)
            count += len(level)
            inner = level[nodes.left[level] != LEAF]
            level = np.stack([nodes.left[inner], nodes.right[inner]], axis=1).reshape(-1).astype(np.int64)
            if count + len(level) > n or np.any((level < 0) | (level >= n)):
                raise self._damaged(index, "it reaches a node twice, or one that does not exist")
        order = np.concatenate(levels)
        if len(np.unique(order)) != len(order):
            raise self._damaged(index, "it reaches a node twice")
        return order

    def _damaged(self, index: int, reason: str) -> ModelUnreadableError:
        return ModelUnreadableError(f"the treelite checkpoint is damaged: tree {index}: {reason}")
