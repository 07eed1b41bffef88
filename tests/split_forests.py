"""Forests whose trees have one split each, of one feature."""

from __future__ import annotations

import numpy as np

from mlrf.core.forest import LEAF, NUMERIC, Forest, Missing, Precision


def forest_of_splits(splits: np.ndarray, inputs: Precision = "float64") -> Forest:
    """A tree for each split of one feature, whose margin is the number of splits below a value."""
    n = len(splits)

    def nodes(root: object, low: object, high: object, dtype: str) -> np.ndarray:
        table = np.zeros((n, 3), dtype)
        table[:, 0], table[:, 1], table[:, 2] = root, low, high
        return table.reshape(-1)

    roots = 3 * np.arange(n)
    forest = Forest(
        n_features=1,
        n_outputs=1,
        tree_offsets=3 * np.arange(n + 1),
        tree_output=np.zeros(n, np.int32),
        feature=nodes(0, LEAF, LEAF, "i4"),
        threshold=nodes(splits, 0, 0, "f8"),
        left=nodes(roots + 1, LEAF, LEAF, "i4"),
        right=nodes(roots + 2, LEAF, LEAF, "i4"),
        missing=nodes(Missing.NAN, 0, 0, "u1"),
        default_left=nodes(1, 0, 0, "?"),
        category_set=np.full(3 * n, NUMERIC, np.int32),
        value=nodes(0, 0.0, 1.0, "f8"),
        cover=nodes(2, 1, 1, "f8"),
        set_offsets=np.zeros(1, np.int64),
        set_codes=np.zeros(0, np.int32),
        base=np.zeros(1),
        inputs=inputs,
    )
    forest.validate()
    return forest
