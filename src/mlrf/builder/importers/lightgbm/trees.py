"""LightGBM's trees as the IR: children renumbered after their parents, thresholds moved to where LightGBM actually splits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlrf.builder.importers.lightgbm.linear import to_linear_leaves
from mlrf.builder.importers.lightgbm.tree import Node, Tree
from mlrf.core.errors import ModelUnreadableError
from mlrf.core.forest import LEAF, NUMERIC, ZERO_BAND, Forest, Missing

_BELOW_BAND = math.nextafter(-ZERO_BAND, -math.inf)


def to_forest(trees: Sequence[Tree], *, n_features: int, n_outputs: int, divisor: float) -> Forest:
    """Return the IR of trees in LightGBM's order: iteration by iteration, one tree per output.

    ModelUnreadableError when a tree's children do not form a tree.
    """
    columns = _Columns()
    offsets = [0]
    for index, tree in enumerate(trees):
        columns.append_tree(tree, index)
        offsets.append(len(columns.feature))
    sets = list(columns.sets)
    forest = Forest(
        n_features=n_features,
        n_outputs=n_outputs,
        tree_offsets=np.array(offsets, np.int64),
        tree_output=np.arange(len(trees), dtype=np.int32) % np.int32(n_outputs),
        feature=np.array(columns.feature, np.int32),
        threshold=np.array(columns.threshold, np.float64),
        left=np.array(columns.left, np.int32),
        right=np.array(columns.right, np.int32),
        missing=np.array(columns.missing, np.uint8),
        default_left=np.array(columns.default_left, np.bool_),
        category_set=np.array(columns.category_set, np.int32),
        value=np.array(columns.value, np.float64),
        cover=np.array(columns.cover, np.float64),
        set_offsets=np.cumsum([0, *map(len, sets)], dtype=np.int64),
        set_codes=np.array([code for codes in sets for code in codes], np.int32),
        base=np.zeros(n_outputs),
        divisor=divisor,
        linear=to_linear_leaves(trees, np.array(offsets, np.int64), columns.leaf_number),
        leaf_numbers=np.array(columns.leaf_number, np.int32),
        leaf_trees=np.arange(len(trees)),
    )
    forest.validate()
    return forest


class _Columns:
    """The IR's arrays while they grow."""

    def __init__(self) -> None:
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.left: list[int] = []
        self.right: list[int] = []
        self.missing: list[int] = []
        self.default_left: list[bool] = []
        self.category_set: list[int] = []
        self.value: list[float] = []
        self.cover: list[float] = []
        self.leaf_number: list[int] = []
        self.sets: dict[tuple[int, ...], int] = {}

    def append_tree(self, tree: Tree, index: int) -> None:
        root = len(self.feature)
        # (LightGBM's number, our parent, whether we are its left child), in preorder.
        waiting = [(0 if tree.nodes else ~0, LEAF, False)]
        while waiting:
            child, parent, is_left = waiting.pop()
            number = len(self.feature)
            if number - root > 2 * len(tree.nodes):
                raise ModelUnreadableError(f"the model file is damaged: tree {index} reaches a node twice")
            if parent != LEAF:
                (self.left if is_left else self.right)[parent] = number
            if child < 0:
                self._append_leaf(tree, ~child, index)
                continue
            if child >= len(tree.nodes):
                raise ModelUnreadableError(f"the model file is damaged: tree {index} has no node {child}")
            node = tree.nodes[child]
            self._append_node(node)
            waiting += [(node.right, number, False), (node.left, number, True)]
        if len(self.feature) - root != 2 * len(tree.nodes) + 1:
            raise ModelUnreadableError(f"the model file is damaged: tree {index} has nodes that no row can reach")
        # Covers are the library's row counts; the sum of the children, because data-parallel training only estimates
        # the counts of inner nodes.
        for number in range(len(self.feature) - 1, root - 1, -1):
            if self.feature[number] != LEAF:
                self.cover[number] = self.cover[self.left[number]] + self.cover[self.right[number]]

    def _append_leaf(self, tree: Tree, leaf: int, index: int) -> None:
        if leaf >= len(tree.leaf_values):
            raise ModelUnreadableError(f"the model file is damaged: tree {index} has no leaf {leaf}")
        self._append(LEAF, 0.0, 0, False, NUMERIC, tree.leaf_values[leaf], tree.leaf_counts[leaf])
        self.leaf_number[-1] = leaf

    def _append_node(self, node: Node) -> None:
        if node.feature < 0:
            raise ModelUnreadableError(
                f"the model file is damaged: a node tests feature {node.feature}, which does not exist"
            )
        if node.categories is None:
            threshold, missing = _moved(node.threshold), node.missing
            self._append(node.feature, threshold, missing, node.default_left, NUMERIC, 0.0, 0.0)
        else:
            # NaN at a categorical split goes right, whatever the node's missing type.
            number = self.sets.setdefault(node.categories, len(self.sets))
            self._append(node.feature, 0.0, int(Missing.NAN), False, number, 0.0, 0.0)

    def _append(
        self, feature: int, threshold: float, missing: int, default_left: bool, number: int, value: float, cover: float
    ) -> None:
        self.feature.append(feature)
        self.threshold.append(threshold)
        self.left.append(LEAF)
        self.right.append(LEAF)
        self.missing.append(missing)
        self.default_left.append(default_left)
        self.category_set.append(number)
        self.value.append(value)
        self.cover.append(cover)
        self.leaf_number.append(LEAF)


def _moved(threshold: float) -> float:
    # LightGBM's dense predictor reads |x| <= ZERO_BAND as 0.0 before the trees, so a threshold inside the band
    # actually splits at the edge of the band that 0.0 does not cross.
    if -ZERO_BAND <= threshold < 0.0:
        return _BELOW_BAND
    if 0.0 <= threshold < ZERO_BAND:
        return ZERO_BAND
    return threshold
