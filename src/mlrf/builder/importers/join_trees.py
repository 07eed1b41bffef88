"""Joins trees stored as arrays into one forest, for libraries that store their trees as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64, I32, LEAF, NUMERIC, U8, Bool, Forest, Missing, Precision
from mlrf.core.table_columns import TableColumns

_MAX_NODES = (1 << 31) - 1
CategorySet = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TreeArrays:
    """One tree of m nodes with its own numbering: the root is 0, every child comes after its parent."""

    feature: I32
    """[m] LEAF at leaves."""
    threshold: F64
    """[m]"""
    left: I32
    """[m] LEAF at leaves."""
    right: I32
    """[m] LEAF at leaves."""
    default_left: Bool
    """[m] the side that NaN takes."""
    values: F64
    """[m, K]: what a leaf adds to each of K outputs. K outputs become K trees."""
    cover: F64
    """[m]"""
    outputs: tuple[int, ...]
    """[K] the outputs that the columns of `values` add to."""
    category_set: I32 | None = None
    """[m] index in the forest's category sets, NUMERIC elsewhere; None if no node tests a category."""
    leaf_numbers: I32 | None = None
    """[m] the library's own number of each leaf; None where it has none."""


def join_trees(
    trees: Sequence[TreeArrays],
    *,
    n_features: int,
    base: F64,
    category_sets: Sequence[CategorySet] = (),
    inputs: Precision = "float64",
    rounding: Precision = "float64",
    divisor: float = 1.0,
    scale: float = 1.0,
    base_order: Literal["first", "last"] = "first",
    tables: TableColumns | None = None,
) -> Forest:
    """Return the forest of `trees` in their order, a tree of K outputs as K trees; other arguments as in `Forest`.

    ModelUnreadableError if the trees are invalid; UnsupportedModelError if there are more nodes than 32 bits can number.
    """
    single = [(tree, index) for tree in trees for index in range(len(tree.outputs))]
    offsets = np.cumsum([0, *(len(tree.feature) for tree, _ in single)], dtype=np.int64)
    if offsets[-1] > _MAX_NODES:
        raise UnsupportedModelError(
            f"the model has {offsets[-1]} nodes, one copy of a tree for each class; the limit is {_MAX_NODES}"
        )
    starts = offsets[:-1]

    def children(side: str) -> I32:
        shifted = []
        for (tree, _), start in zip(single, starts, strict=True):
            child: I32 = getattr(tree, side)
            shifted.append(np.where(tree.feature == LEAF, LEAF, child + start).astype(np.int32))
        return np.concatenate(shifted)

    feature = np.concatenate([tree.feature for tree, _ in single]).astype(np.int32)
    inner = feature != LEAF
    category_set = np.concatenate([_sets(tree) for tree, _ in single])
    numbers = [tree.leaf_numbers for tree, _ in single if tree.leaf_numbers is not None]
    missing: U8 = np.where(inner, int(Missing.NAN), int(Missing.NONE)).astype(np.uint8)
    forest = Forest(
        n_features=n_features,
        n_outputs=len(base),
        tree_offsets=offsets,
        tree_output=np.array([tree.outputs[index] for tree, index in single], np.int32),
        feature=feature,
        threshold=np.where(inner, np.concatenate([tree.threshold for tree, _ in single]), 0.0),
        left=children("left"),
        right=children("right"),
        missing=missing,
        default_left=np.concatenate([tree.default_left for tree, _ in single]).astype(np.bool_) & inner,
        category_set=np.where(inner, category_set, NUMERIC).astype(np.int32),
        value=np.where(inner, 0.0, np.concatenate([tree.values[:, index] for tree, index in single])),
        cover=np.concatenate([tree.cover for tree, _ in single]).astype(np.float64),
        set_offsets=np.cumsum([0, *map(len, category_sets)], dtype=np.int64),
        set_codes=np.array([code for codes in category_sets for code in codes], np.int32),
        base=base,
        divisor=divisor,
        inputs=inputs,
        rounding=rounding,
        scale=scale,
        base_order=base_order,
        tables=tables,
        leaf_numbers=np.concatenate(numbers).astype(np.int32) if len(numbers) == len(single) else None,
        leaf_trees=np.flatnonzero([index == 0 for _, index in single]),
    )
    forest.validate()
    return forest


def _sets(tree: TreeArrays) -> I32:
    if tree.category_set is None:
        return np.full(len(tree.feature), NUMERIC, np.int32)
    return tree.category_set
