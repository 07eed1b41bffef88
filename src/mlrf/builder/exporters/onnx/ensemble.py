"""Converts binary trees to the attributes of the `TreeEnsemble` operator.

The operator numbers inner nodes and leaves separately. It has no tree of a single leaf, which becomes a node with two equal
leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from mlrf.core.forest import LEAF, Precision

ML_DOMAIN = "ai.onnx.ml"
_SUM = 1
_NO_TRANSFORM = 0
_BRANCH_LEQ = 0


@dataclass(frozen=True, slots=True, eq=False)
class FlatTrees:
    """Trees of `x <= threshold` nodes with one numbering; a leaf has feature LEAF.

    NaN goes left where `nan_left` is true.
    """

    roots: npt.NDArray[np.int64]
    """[T]"""
    feature: npt.NDArray[np.int64]
    """[N]"""
    threshold: npt.NDArray[np.float64]
    """[N]"""
    left: npt.NDArray[np.int64]
    """[N]"""
    right: npt.NDArray[np.int64]
    """[N]"""
    nan_left: npt.NDArray[np.bool_]
    """[N]"""
    value: npt.NDArray[np.float64]
    """[N] at leaves"""
    output: npt.NDArray[np.int64]
    """[N] at leaves: the output that the leaf adds to"""
    cover: npt.NDArray[np.float64] | None = None
    """[N] rows that reached the node in training; None if not applicable."""


def ensemble_node(
    trees: FlatTrees, *, source: str, target: str, n_outputs: int, name: str, precision: Precision = "float64"
) -> onnx.NodeProto:
    """Return the operator that sums `trees` over the columns of `source` [n, C] into `target` [n, n_outputs].

    Both tensors, the thresholds and the sum are of the given precision.
    """
    number = np.dtype(precision)
    trees = _without_bare_leaves(trees)
    is_leaf = trees.feature == LEAF
    node_id, inner, leaves = _numbers(trees)
    left, right = trees.left[inner], trees.right[inner]
    attributes = {
        "aggregate_function": _SUM,
        "post_transform": _NO_TRANSFORM,
        "n_targets": n_outputs,
        "tree_roots": node_id[trees.roots].tolist(),
        "nodes_featureids": trees.feature[inner].tolist(),
        "nodes_modes": numpy_helper.from_array(np.full(len(inner), _BRANCH_LEQ, np.uint8), "nodes_modes"),
        "nodes_splits": numpy_helper.from_array(trees.threshold[inner].astype(number), "nodes_splits"),
        "nodes_truenodeids": node_id[left].tolist(),
        "nodes_trueleafs": is_leaf[left].astype(np.int64).tolist(),
        "nodes_falsenodeids": node_id[right].tolist(),
        "nodes_falseleafs": is_leaf[right].astype(np.int64).tolist(),
        "nodes_missing_value_tracks_true": trees.nan_left[inner].astype(np.int64).tolist(),
        "leaf_targetids": trees.output[leaves].tolist(),
        "leaf_weights": numpy_helper.from_array(trees.value[leaves].astype(number), "leaf_weights"),
    }
    return helper.make_node("TreeEnsemble", [source], [target], name=name, domain=ML_DOMAIN, **attributes)


def with_first_leaves(trees: FlatTrees, values: npt.NDArray[np.float64]) -> FlatTrees:
    """Return the trees after one additional leaf per output, so that each sum starts at its value [K]."""
    n = len(values)

    def grown(column: npt.NDArray, more: npt.NDArray) -> npt.NDArray:  # type: ignore[type-arg]
        return np.concatenate([column, more]).astype(column.dtype)

    zeros, none = np.zeros(n), np.full(n, LEAF)
    return FlatTrees(
        roots=np.concatenate([len(trees.feature) + np.arange(n), trees.roots]),
        feature=grown(trees.feature, none),
        threshold=grown(trees.threshold, zeros),
        left=grown(trees.left, none),
        right=grown(trees.right, none),
        nan_left=grown(trees.nan_left, zeros),
        value=grown(trees.value, values),
        output=grown(trees.output, np.arange(n)),
        cover=None if trees.cover is None else grown(trees.cover, zeros),
    )


def operator_covers(trees: FlatTrees) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the covers of inner nodes and of leaves, in the order in which `ensemble_node` writes them."""
    trees = _without_bare_leaves(trees)
    covers = np.zeros(len(trees.feature)) if trees.cover is None else trees.cover
    _, inner, leaves = _numbers(trees)
    return covers[inner], covers[leaves]


def _numbers(trees: FlatTrees) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return each node's number in the operator [N], and the inner nodes and the leaves in the order of their numbers.

    ONNX Runtime 1.23 mistakes a node whose children are leaf i and inner node i for a leaf. Therefore the leaves' numbers are
    rotated by s. Each such pair of siblings has equal numbers for only one s, and there are more leaves than pairs, so some s
    avoids all.
    """
    is_leaf = trees.feature == LEAF
    inner, leaves = np.flatnonzero(~is_leaf), np.flatnonzero(is_leaf)
    number = np.empty(len(trees.feature), np.int64)
    number[inner] = np.arange(len(inner))
    number[leaves] = np.arange(len(leaves))
    left, right = trees.left[inner], trees.right[inner]
    pairs = [(left, right), (right, left)]
    meeting = [(number[node] - number[leaf])[is_leaf[leaf] & ~is_leaf[node]] % len(leaves) for leaf, node in pairs]
    turn = int(np.setdiff1d(np.arange(len(leaves)), np.concatenate(meeting))[0])
    number[leaves] = (number[leaves] + turn) % len(leaves)
    return number, inner, np.roll(leaves, turn)


def _without_bare_leaves(trees: FlatTrees) -> FlatTrees:
    bare = np.flatnonzero(trees.feature[trees.roots] == LEAF)
    if not len(bare):
        return trees
    size, leaves = len(trees.feature), trees.roots[bare]
    # Each tree of one leaf gets a second leaf and a node above both. The second leaf must be separate, because ONNX Runtime
    # reads a node whose two children are the same leaf as that leaf.
    twins = size + np.arange(len(bare))
    roots = trees.roots.copy()
    roots[bare] = twins + len(bare)

    def grown(values: npt.NDArray, of_twins: npt.NDArray, of_nodes: npt.NDArray) -> npt.NDArray:  # type: ignore[type-arg]
        return np.concatenate([values, of_twins, of_nodes]).astype(values.dtype)

    zeros, no_child = np.zeros(len(bare)), np.full(len(bare), LEAF)
    return FlatTrees(
        roots=roots,
        feature=grown(trees.feature, no_child, zeros),
        threshold=grown(trees.threshold, zeros, zeros),
        left=grown(trees.left, no_child, leaves),
        right=grown(trees.right, no_child, twins),
        nan_left=grown(trees.nan_left, zeros, zeros),
        value=grown(trees.value, trees.value[leaves], zeros),
        output=grown(trees.output, trees.output[leaves], zeros),
        cover=None if trees.cover is None else grown(trees.cover, zeros, trees.cover[leaves]),
    )
