"""XGBoost's trees as the IR: level by level from the root, `x < t` as `x <=` the float32 below t.

A category goes right if it is in the node's set, so the IR's children are exchanged at categorical nodes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mlrf.builder.importers.xgboost.document import Member
from mlrf.builder.importers.xgboost.vector_leaves import leaf_size, leaf_vectors, separate
from mlrf.core.errors import ModelUnreadableError
from mlrf.core.forest import LEAF, NOT_NEGATIVE, NUMERIC, Forest, Missing, below32

I64 = npt.NDArray[np.int64]
_CATEGORICAL = 1
_MAX_CATEGORY = 1 << 24
_NODE_COLUMNS = ("feature", "threshold", "left", "right", "default_left", "category_set", "value", "cover", "number")
_Part = dict[str, npt.NDArray[np.generic]]


def to_forest(
    trees: Sequence[Member],
    outputs: I64,
    weights: npt.NDArray[np.float32] | None,
    *,
    n_features: int,
    base: npt.NDArray[np.float32],
) -> Forest:
    """Return the IR of trees in the order of their sum; `weights` [T] are those of dart.

    A tree with vector leaves becomes a tree for each output. ModelUnreadableError when a tree's nodes do not form a tree.
    """
    sets: dict[tuple[int, ...], int] = {}
    parts: list[_Part] = []
    tree_output: list[int] = []
    offsets, leaf_trees = [0], []
    for index, tree in enumerate(trees):
        size = leaf_size(tree, len(base))
        part = _read_tree(tree, size, offsets[-1], sets)
        if weights is not None:
            # XGBoost multiplies each tree's answer by its weight before it adds it, in float32.
            part["value"] = part["value"] * weights[index]
        leaf_trees.append(len(parts))
        parts += separate(part, offsets[-1])
        offsets += [offsets[-1] + (copy + 1) * len(part["feature"]) for copy in range(size)]
        tree_output += [int(outputs[index])] if size == 1 else range(size)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in _NODE_COLUMNS}
    with np.errstate(over="ignore", invalid="ignore"):
        forest = Forest(
            n_features=n_features,
            n_outputs=len(base),
            tree_offsets=np.array(offsets, np.int64),
            tree_output=np.array(tree_output, np.int32),
            feature=joined["feature"].astype(np.int32),
            threshold=joined["threshold"].astype(np.float64),
            left=joined["left"].astype(np.int32),
            right=joined["right"].astype(np.int32),
            missing=np.where(joined["feature"] == LEAF, Missing.NONE, Missing.NAN).astype(np.uint8),
            default_left=joined["default_left"].astype(np.bool_),
            category_set=joined["category_set"].astype(np.int32),
            value=joined["value"].astype(np.float64),
            cover=_covers(joined),
            set_offsets=np.cumsum([0, *map(len, sets)], dtype=np.int64),
            set_codes=np.array([code for codes in sets for code in codes], np.int32),
            base=base.astype(np.float64),
            rounding="float32",
            inputs="float32",
            no_code_up_to=NOT_NEGATIVE,
            leaf_numbers=joined["number"].astype(np.int32),
            leaf_trees=np.array(leaf_trees, np.int64),
        )
    forest.validate()
    return forest


def _read_tree(tree: Member, size: int, first: int, sets: dict[tuple[int, ...], int]) -> _Part:
    """Return a tree's nodes in level order, numbered from `first`; `value` is [m, size]."""
    left = tree.integers("left_children")
    n = len(left)
    right, feature = tree.integers("right_children", n), tree.integers("split_indices", n)
    condition, default_left = tree.floats("split_conditions", n), tree.integers("default_left", n)
    cover = tree.floats("sum_hessian", n) if "sum_hessian" in tree else np.zeros(n, np.float32)
    kinds = tree.integers("split_type", n) if "split_type" in tree else np.zeros(n, np.int64)
    order = _level_order(tree, left, right)
    is_leaf = left[order] == LEAF
    number = np.full(n, LEAF, np.int64)
    number[order] = first + np.arange(len(order))
    categories = _categories(tree, kinds, set(order[~is_leaf].tolist()), n, sets)
    is_category = (kinds[order] == _CATEGORICAL) & ~is_leaf
    # XGBoost up to 2.1 writes NaN at categorical nodes.
    if np.any(np.isnan(condition[order[~is_leaf & ~is_category]])):
        raise tree.error("split_conditions", "contains a value that is not a number")
    low, high = (number[np.where(is_leaf, 0, child[order])] for child in (left, right))
    threshold = below32(condition[order].astype(np.float64))
    value = np.zeros((len(order), size), np.float32)
    leaves = order[is_leaf]
    value[is_leaf] = condition[leaves, None] if size == 1 else leaf_vectors(tree, leaves, right, size)
    return {
        "feature": np.where(is_leaf, LEAF, feature[order]),
        "threshold": np.where(is_leaf | is_category, 0.0, threshold),
        "left": np.where(is_leaf, LEAF, np.where(is_category, high, low)),
        "right": np.where(is_leaf, LEAF, np.where(is_category, low, high)),
        "default_left": ~is_leaf & ((default_left[order] != 0) != is_category),
        "category_set": np.array([categories.get(node, NUMERIC) for node in order.tolist()], np.int64),
        "value": value,
        "cover": cover[order],
        "number": order,
    }


def _level_order(tree: Member, left: I64, right: I64) -> I64:
    """Return the nodes that the root reaches, parents first."""
    n = len(left)
    levels, level, count = [], np.zeros(1, np.int64), 0
    if n == 0:
        raise tree.error("left_children", "is empty")
    while len(level):
        levels.append(level)
        count += len(level)
        inner = level[left[level] != LEAF]
        level = np.stack([left[inner], right[inner]], axis=1).reshape(-1)
        if count + len(level) > n or np.any((level < 0) | (level >= n)):
            raise ModelUnreadableError(
                f"the XGBoost model file is damaged: {tree.where} reaches a node twice, or one that does not exist"
            )
    order = np.concatenate(levels)
    if len(np.unique(order)) != len(order):
        raise ModelUnreadableError(f"the XGBoost model file is damaged: {tree.where} reaches a node twice")
    return order


def _categories(
    tree: Member, kinds: I64, reached: set[int], n: int, sets: dict[tuple[int, ...], int]
) -> dict[int, int]:
    """Return the number of the category set of each categorical node that the root reaches."""
    categorical = {node for node in np.flatnonzero(kinds == _CATEGORICAL).tolist() if node in reached}
    if not categorical:
        return {}
    nodes = tree.integers("categories_nodes")
    starts, sizes = tree.integers("categories_segments", len(nodes)), tree.integers("categories_sizes", len(nodes))
    codes = tree.integers("categories")
    found = {}
    for node, start, size in zip(nodes.tolist(), starts.tolist(), sizes.tolist(), strict=True):
        if not (0 <= node < n and start >= 0 and size >= 0 and start + size <= len(codes)):
            raise tree.error("categories_segments", "points outside the tree's categories")
        own = np.unique(codes[start : start + size])
        if len(own) and not (own[0] >= 0 and own[-1] < _MAX_CATEGORY):
            raise tree.error("categories", "holds a code below 0 or beyond 2^24")
        found[node] = sets.setdefault(tuple(own.tolist()), len(sets))
    if missed := categorical - found.keys():
        raise tree.error("categories_nodes", f"lacks the categorical node {min(missed)}")
    return {node: found[node] for node in categorical}


def _covers(joined: _Part) -> npt.NDArray[np.float64]:
    """Return the covers of the leaves, and of inner nodes the sums of their children's."""
    cover = np.where(joined["feature"] == LEAF, joined["cover"].astype(np.float64), 0.0)
    left, right = joined["left"].astype(np.int64), joined["right"].astype(np.int64)
    # Level order: every child stands behind its parent.
    for node in np.flatnonzero(joined["feature"] != LEAF)[::-1].tolist():
        cover[node] = cover[left[node]] + cover[right[node]]
    return cover
