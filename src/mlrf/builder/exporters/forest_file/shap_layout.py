"""Lays out a forest for explanations: trees in chunks, the nodes of a chunk by level, with the terms that all rows share.

The mathematics is explained in `kernel/src/shap.hpp`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.builder.exporters.forest_file.column_layout import Columns
from mlrf.builder.exporters.forest_file.tree_shape import Shape
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64, I64, LEAF, Forest

CHUNK_NODES = 512
"""Nodes in a chunk: long enough that the ends of runs cost little, short enough to stay in cache."""

MAX_QUADRATURE = 512
NO_EARLIER = 0xFFFFFFFF

CHUNK = np.dtype(
    [
        (name, "<u4")
        for name in (
            "first_node",
            "n_nodes",
            "first_leaf",
            "n_leaves",
            "first_run",
            "n_runs",
            "n_roots",
            "n_quadrature",
        )
    ]
)
RUN = np.dtype([("end", "<u4"), ("seen", "<u4")])
NODE = np.dtype(
    [
        ("share", "<f8"),
        ("earlier_share", "<f8"),
        ("left", "<u4"),
        ("right", "<u4"),
        ("column", "<u4"),
        ("rank", "<u4"),
        ("sum", "<u4"),
        ("earlier", "<u4"),
    ]
)


@dataclass(frozen=True, slots=True)
class ShapSections:
    """Sections of the forest file for explanations."""

    features: I64
    chunks: npt.NDArray[Any]
    runs: npt.NDArray[Any]
    nodes: npt.NDArray[Any]
    leaves: F64


@dataclass(frozen=True, slots=True)
class _Paths:
    owner: I64
    """[N] the feature or group of features to which the node's contribution belongs, LEAF at leaves."""
    share: F64
    """[N] share of the cover that goes left; a node of zero cover splits evenly."""
    earlier: I64
    """[N] nearest ancestor that tests the same feature, LEAF if there is none."""
    earlier_right: npt.NDArray[np.bool_]
    """[N] whether the path leaves that node to the right."""
    earlier_share: F64
    """[N] product of the cover shares of the path at every earlier split on the same feature."""
    quadrature: I64
    """[T] number of nodes of the Gauss-Legendre rule that is exact for the tree."""


def lay_out_shap(forest: Forest, shape: Shape, columns: Columns) -> ShapSections:
    """Return the sections of a valid forest; UnsupportedModelError for a path with more than 1,024 distinct features."""
    paths = _follow_paths(forest, shape)
    inner = forest.feature != LEAF
    splits = np.flatnonzero(inner)
    features = np.unique(paths.owner[splits]).astype(np.int64)
    chunk_of_tree, chunk_quadrature = _group_trees(shape, paths)
    n_chunks = len(chunk_quadrature)

    chunk = chunk_of_tree[shape.tree[splits]]
    sums = forest.tree_output[shape.tree[splits]].astype(np.int64) * len(features) + np.searchsorted(
        features, paths.owner[splits]
    )
    seen = (paths.earlier[splits] != LEAF).astype(np.int64)
    depth = shape.depth[splits]
    # If possible, adjacent nodes add to different sums: adding to the same sum twice waits until the first is stored.
    turn = _count_turns(sums, (seen, depth, chunk))
    order = np.lexsort((splits, sums, turn, seen, depth, chunk))
    splits, chunk, depth, seen, sums = splits[order], chunk[order], depth[order], seen[order], sums[order]
    n_of_chunk = np.bincount(chunk, minlength=n_chunks)
    first_node = np.cumsum(n_of_chunk) - n_of_chunk

    leaves = np.flatnonzero(~inner & (chunk_of_tree[shape.tree] >= 0))
    leaves = leaves[np.argsort(chunk_of_tree[shape.tree[leaves]], kind="stable")]
    leaf_chunk = chunk_of_tree[shape.tree[leaves]]
    leaves_of_chunk = np.bincount(leaf_chunk, minlength=n_chunks)
    first_leaf = np.cumsum(leaves_of_chunk) - leaves_of_chunk

    slot = np.zeros(forest.n_nodes, dtype=np.int64)
    slot[splits] = np.arange(len(splits)) - first_node[chunk]
    slot[leaves] = n_of_chunk[leaf_chunk] + np.arange(len(leaves)) - first_leaf[leaf_chunk]

    nodes = np.zeros(len(splits), dtype=NODE)
    nodes["share"] = paths.share[splits]
    nodes["earlier_share"] = paths.earlier_share[splits]
    nodes["left"] = slot[forest.left[splits]]
    nodes["right"] = slot[forest.right[splits]]
    nodes["column"] = columns.node_column[splits]
    nodes["rank"] = columns.node_rank[splits]
    nodes["sum"] = sums
    earlier = paths.earlier[splits]
    nodes["earlier"] = np.where(
        earlier == LEAF, NO_EARLIER, 2 * slot[np.maximum(earlier, 0)] + paths.earlier_right[splits]
    )

    is_last = np.ones(len(splits), dtype=np.bool_)
    is_last[:-1] = (np.diff(chunk) != 0) | (np.diff(depth) != 0) | (np.diff(seen) != 0)
    ends = np.flatnonzero(is_last)
    runs = np.zeros(len(ends), dtype=RUN)
    runs["end"] = ends + 1 - first_node[chunk[ends]]
    runs["seen"] = seen[ends]
    runs_of_chunk = np.bincount(chunk[ends], minlength=n_chunks)

    chunks = np.zeros(n_chunks, dtype=CHUNK)
    chunks["first_node"] = first_node
    chunks["n_nodes"] = n_of_chunk
    chunks["first_leaf"] = first_leaf
    chunks["n_leaves"] = leaves_of_chunk
    chunks["first_run"] = np.cumsum(runs_of_chunk) - runs_of_chunk
    chunks["n_runs"] = runs_of_chunk
    chunks["n_roots"] = np.bincount(chunk[depth == 0], minlength=n_chunks)
    chunks["n_quadrature"] = chunk_quadrature
    return ShapSections(features, chunks, runs, nodes, forest.value[leaves])


def _follow_paths(forest: Forest, shape: Shape) -> _Paths:
    owner = np.append(forest.owner, LEAF)[forest.feature]
    n = forest.n_nodes
    inner = forest.feature != LEAF
    splits = np.flatnonzero(inner)
    share = np.full(n, 0.5)
    left_cover, right_cover = forest.cover[forest.left[splits]], forest.cover[forest.right[splits]]
    weight = left_cover + right_cover
    np.divide(left_cover, weight, out=left_cover, where=weight > 0)
    share[splits] = np.where(weight > 0, left_cover, 0.5)

    # All nodes move up at the same time, until each reaches a node with its own feature or the root.
    earlier = np.full(n, LEAF, dtype=np.int64)
    earlier_right = np.zeros(n, dtype=np.bool_)
    climbers = splits[shape.parent[splits] != LEAF]
    above, from_right = shape.parent[climbers], shape.is_right[climbers]
    while len(climbers):
        is_met = owner[above] == owner[climbers]
        earlier[climbers[is_met]] = above[is_met]
        earlier_right[climbers[is_met]] = from_right[is_met]
        climbs = ~is_met & (shape.parent[above] != LEAF)
        climbers, below = climbers[climbs], above[climbs]
        above, from_right = shape.parent[below], shape.is_right[below]

    earlier_share = np.ones(n)
    distinct = np.zeros(n, dtype=np.int64)
    for depth, level in enumerate(shape.levels):
        here = level[inner[level]]
        again = here[earlier[here] != LEAF]
        before = earlier[again]
        earlier_share[again] = earlier_share[before] * np.where(
            earlier_right[again], 1.0 - share[before], share[before]
        )
        distinct[here] = (earlier[here] == LEAF) + (distinct[shape.parent[here]] if depth else 0)
    most = np.zeros(forest.n_trees, dtype=np.int64)
    np.maximum.at(most, shape.tree, distinct)
    quadrature = (most + 1) // 2
    if int(quadrature.max(initial=0)) > MAX_QUADRATURE:
        raise UnsupportedModelError(
            f"a path of the model tests {int(most.max())} different features; "
            f"the tree engine explains at most {2 * MAX_QUADRATURE}"
        )
    return _Paths(owner, share, earlier, earlier_right, earlier_share, quadrature)


def _group_trees(shape: Shape, paths: _Paths) -> tuple[I64, I64]:
    """Group trees with the same quadrature rule into chunks.

    Returns each tree's chunk (-1: it is a leaf) and each chunk's rule.
    """
    chunk_of_tree = np.full(len(shape.tree_leaves), -1, dtype=np.int64)
    rules: list[int] = []
    n_nodes = 0
    for tree in np.argsort(paths.quadrature, kind="stable").tolist():
        rule, size = int(paths.quadrature[tree]), int(shape.tree_leaves[tree]) - 1
        if size == 0:
            continue
        if not rules or rules[-1] != rule or n_nodes + size > CHUNK_NODES:
            rules.append(rule)
            n_nodes = 0
        chunk_of_tree[tree] = len(rules) - 1
        n_nodes += size
    return chunk_of_tree, np.array(rules, dtype=np.int64)


def _count_turns(sums: I64, group: tuple[I64, ...]) -> I64:
    """Return for each node how many earlier nodes of its group have the same sum."""
    order = np.lexsort((sums, *group))
    is_new = np.zeros(len(order), dtype=np.bool_)
    is_new[:1] = True
    for key in (sums, *group):
        is_new[1:] |= np.diff(key[order]) != 0
    starts = np.flatnonzero(is_new)
    turn = np.empty(len(order), dtype=np.int64)
    turn[order] = np.arange(len(order)) - starts[np.cumsum(is_new) - 1] if len(order) else turn
    return turn
