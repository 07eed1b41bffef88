"""CatBoost's trees as trees of the IR.

A row is rounded to float32. A numeric split is true for x > border and then goes right, so its left side is the IR's
own `x <= border`; so is that of a split by a CTR feature, which is a column of a table. NaN is less than every border, or
greater if the feature was trained so. A one-hot split is true for one hash; the IR's sets go left, so its children are
exchanged. Covers are CatBoost's leaf weights.
"""

from __future__ import annotations

import numpy as np

from mlrf.builder.importers.catboost.ctr_tables import CtrColumns
from mlrf.builder.importers.catboost.document import NO_SPLIT, Document, Tree
from mlrf.builder.importers.catboost.features import Columns
from mlrf.builder.importers.join_trees import CategorySet, TreeArrays
from mlrf.core.forest import I32, LEAF, NUMERIC


def to_trees(
    document: Document, columns: Columns, ctr_columns: CtrColumns
) -> tuple[list[TreeArrays], list[CategorySet]]:
    """Return the trees in CatBoost's order, and the category sets that they share."""
    sets: dict[CategorySet, int] = {}
    table = document.splits
    category_set = np.full(len(table) + 1, NUMERIC, np.int32)
    for index, split in enumerate(table):
        codes = None if split.category is None else columns.codes.get((split.column, split.category))
        if codes is not None:
            category_set[index] = sets.setdefault(codes, len(sets))
    large = {column.flat for column in document.columns if column.nan_is_large}
    # The last entry of each belongs to leaves: NO_SPLIT is -1.
    n_features = len(columns.features)
    feature = np.array(
        [
            *(
                # A CTR feature that no tree splits by has no column.
                split.column if split.ctr is None else n_features + ctr_columns.index.get(split.ctr, 0)
                for split in table
            ),
            LEAF,
        ],
        np.int32,
    )
    border = np.array([*(split.border for split in table), 0.0])
    nan_left = np.array([*(split.category is None and split.column not in large for split in table), False], np.bool_)
    outputs = tuple(range(document.n_outputs))

    def convert(tree: Tree) -> TreeArrays:
        by_category = category_set[tree.split] != NUMERIC
        is_leaf = tree.split == NO_SPLIT
        row: I32 = np.where(is_leaf, tree.leaf, 0).astype(np.int32)
        numbers = row if tree.numbers is None else tree.numbers[row]
        return TreeArrays(
            feature=feature[tree.split],
            threshold=border[tree.split],
            left=np.where(by_category, tree.right, tree.left).astype(np.int32),
            right=np.where(by_category, tree.left, tree.right).astype(np.int32),
            default_left=nan_left[tree.split],
            values=tree.values[row],
            cover=_covers(tree),
            outputs=outputs,
            category_set=category_set[tree.split],
            leaf_numbers=np.where(is_leaf, numbers, LEAF).astype(np.int32),
        )

    return [convert(tree) for tree in document.trees], list(sets)


def _covers(tree: Tree) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    cover = np.where(tree.split == NO_SPLIT, tree.weights[np.maximum(tree.leaf, 0)], 0.0)
    left, right = tree.left.tolist(), tree.right.tolist()
    sums = cover.tolist()
    for node in range(len(sums) - 1, -1, -1):
        if left[node] >= 0:
            sums[node] = sums[left[node]] + sums[right[node]]
    return np.array(sums)
