"""The shapes of CatBoost's trees: the same split on a whole level, or one split per node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from mlrf.builder.importers.catboost.document import NO_SPLIT, Tree
from mlrf.core.errors import ModelUnreadableError
from mlrf.core.forest import F64, I32

MAX_DEPTH = 16
_NodeT = TypeVar("_NodeT")


def oblivious_tree(splits: Sequence[int], values: F64, weights: F64, n_outputs: int, index: int) -> Tree:
    """Return the tree whose leaf is numbered by the bits of its splits, the first split the lowest bit.

    The last split is at the root: CatBoost's own explanations process the levels in this order.
    """
    depth = len(splits)
    if depth > MAX_DEPTH:
        raise ModelUnreadableError(f"tree {index} is {depth} levels deep; CatBoost grows at most {MAX_DEPTH}")
    n_leaves = 1 << depth
    if len(values) != n_leaves * n_outputs or len(weights) not in (0, n_leaves):
        raise ModelUnreadableError(f"tree {index} has {len(values)} leaf values for {n_leaves} leaves of {n_outputs}")
    node = np.arange(2 * n_leaves - 1)
    level = np.frexp(node + 1.0)[1] - 1
    is_leaf = level == depth
    by_level = np.array([*reversed(splits), NO_SPLIT], np.int32)
    return Tree(
        split=by_level[level],
        left=np.where(is_leaf, -1, 2 * node + 1).astype(np.int32),
        right=np.where(is_leaf, -1, 2 * node + 2).astype(np.int32),
        leaf=np.where(is_leaf, node - (n_leaves - 1), -1).astype(np.int32),
        values=np.asarray(values, np.float64).reshape(n_leaves, n_outputs),
        weights=np.asarray(weights, np.float64) if len(weights) else np.zeros(n_leaves),
    )


def grow(
    root: _NodeT, children: Callable[[_NodeT], tuple[int, _NodeT, _NodeT] | None]
) -> tuple[I32, I32, I32, list[_NodeT]]:
    """Return splits, left and right children [m] of the tree below `root` in preorder, and its leaves in that order.

    `children` names a node's split and its two sides, or None at a leaf.
    """
    split: list[int] = []
    left: list[int] = []
    right: list[int] = []
    leaves: list[_NodeT] = []
    waiting: list[tuple[_NodeT, int, bool]] = [(root, -1, False)]
    while waiting:
        node, parent, is_left = waiting.pop()
        number = len(split)
        if parent >= 0:
            (left if is_left else right)[parent] = number
        found = children(node)
        left.append(-1)
        right.append(-1)
        if found is None:
            split.append(NO_SPLIT)
            leaves.append(node)
            continue
        split.append(found[0])
        waiting += [(found[2], number, False), (found[1], number, True)]
    return np.array(split, np.int32), np.array(left, np.int32), np.array(right, np.int32), leaves
