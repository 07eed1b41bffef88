"""The linear functions of LightGBM's leaves (`linear_tree`) as those of the IR's nodes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlrf.builder.importers.lightgbm.tree import LinearLeaf, Tree
from mlrf.core.forest import I64, LEAF
from mlrf.core.linear_leaves import LinearLeaves


def to_linear_leaves(trees: Sequence[Tree], offsets: I64, leaf_number: Sequence[int]) -> LinearLeaves | None:
    """Return the functions of the nodes of trees that begin at `offsets` [T + 1]; None if all leaves are constants.

    `leaf_number` [N] is LightGBM's number of each leaf within its tree, LEAF at inner nodes.
    """
    if all(tree.linear is None for tree in trees):
        return None
    nothing = LinearLeaf(0.0, [], [])
    functions: list[LinearLeaf] = []
    for tree, start, end in zip(trees, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        own = tree.linear or [LinearLeaf(value, [], []) for value in tree.leaf_values]
        functions += [nothing if leaf == LEAF else own[leaf] for leaf in leaf_number[start:end]]
    return LinearLeaves(
        constants=np.array([each.constant for each in functions], np.float64),
        offsets=np.cumsum([0, *(len(each.columns) for each in functions)], dtype=np.int64),
        # Columns beyond 31 bits are no column of a model either way.
        features=np.array([column for each in functions for column in each.columns], np.int64)
        .clip(-1, 1 << 30)
        .astype(np.int32),
        coefficients=np.array([x for each in functions for x in each.coefficients], np.float64),
    )
