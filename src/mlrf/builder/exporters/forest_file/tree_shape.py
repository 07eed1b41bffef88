"""Computes the position of each node in its tree, level by level, so that no tree is too deep for recursion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlrf.core.forest import I64, LEAF, Bool, Forest


@dataclass(frozen=True, slots=True)
class Shape:
    """Position of each of N nodes; `levels[d]` are the nodes d steps below a root."""

    tree: I64
    """[N] the node's tree."""
    parent: I64
    """[N] the parent, LEAF at roots."""
    is_right: Bool
    """[N] whether the node is its parent's right child."""
    depth: I64
    """[N] steps from the root."""
    first_leaf: I64
    """[N] number, from the left within the tree, of the first leaf below the node (of the leaf itself, at a leaf)."""
    tree_leaves: I64
    """[T] leaves of each tree."""
    levels: list[I64]
    leaves: I64
    """The leaves by tree, from left to right."""


def measure_shape(forest: Forest) -> Shape:
    """Return the shape of a valid forest."""
    n = forest.n_nodes
    inner = forest.feature != LEAF
    tree = np.repeat(np.arange(forest.n_trees), np.diff(forest.tree_offsets))
    splits = np.flatnonzero(inner)
    parent = np.full(n, LEAF, dtype=np.int64)
    parent[forest.left[splits]] = splits
    parent[forest.right[splits]] = splits
    is_right = np.zeros(n, dtype=np.bool_)
    is_right[forest.right[splits]] = True

    depth = np.zeros(n, dtype=np.int64)
    levels: list[I64] = []
    level = forest.tree_offsets[:-1].astype(np.int64)
    while len(level):
        depth[level] = len(levels)
        levels.append(level)
        above = level[inner[level]]
        level = np.concatenate([forest.left[above], forest.right[above]]).astype(np.int64)

    leaves = np.ones(n, dtype=np.int64)
    for level in reversed(levels):
        above = level[inner[level]]
        leaves[above] = leaves[forest.left[above]] + leaves[forest.right[above]]
    first_leaf = np.zeros(n, dtype=np.int64)
    for level in levels:
        above = level[inner[level]]
        first_leaf[forest.left[above]] = first_leaf[above]
        first_leaf[forest.right[above]] = first_leaf[above] + leaves[forest.left[above]]
    ends = np.flatnonzero(~inner)
    ends = ends[np.lexsort((first_leaf[ends], tree[ends]))]
    return Shape(tree, parent, is_right, depth, first_leaf, leaves[forest.tree_offsets[:-1]], levels, ends)
