"""The arrays of `sklearn.tree` as trees of the IR.

scikit-learn rounds a row to float32 and sends it left if it is at most the threshold, a float64: at most the greatest
float32 below it. NaN goes to the side that each node states. Covers are the weights of the training rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from mlrf.builder.importers.join_trees import TreeArrays
from mlrf.builder.importers.sklearn.combinations import expected_depth, leaf_depths, votes
from mlrf.builder.importers.sklearn.objective import Kind
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.forest import F64, LEAF, Bool, floor32

_SHARES_TOLERANCE = 1e-6
_NUMBERED = ("tree", "forest", "boosting")
"""Families whose estimators have `apply`, which numbers a leaf as the node that it is."""


def read_trees(estimator: Any, kind: Kind) -> tuple[list[TreeArrays], float]:
    """Return the trees in the order in which the estimator adds them, and what their sum is divided by."""
    if kind.family == "tree":
        return [_read_tree(estimator.tree_, kind, 0)], 1.0
    if kind.family == "forest":
        grown = list(estimator.estimators_)
        return [_read_tree(tree.tree_, kind, index) for index, tree in enumerate(grown)], float(len(grown))
    if kind.family in ("bagging", "adaboost", "isolation"):
        return _combined(estimator, kind)
    stages = np.asarray(estimator.estimators_, dtype=object)
    if stages.ndim != 2 or stages.shape[1] != kind.n_outputs:  # noqa: PLR2004  iterations and outputs
        raise ModelUnreadableError(f"the {kind.name} has trees of shape {stages.shape} for {kind.n_outputs} outputs")
    scale = float(estimator.learning_rate)
    trees = [
        _read_tree(tree.tree_, kind, stage, scale=scale, output=output)
        for stage, row in enumerate(stages)
        for output, tree in enumerate(row)
    ]
    return trees, 1.0


def _combined(estimator: Any, kind: Kind) -> tuple[list[TreeArrays], float]:
    members = list(estimator.estimators_)
    columns = getattr(estimator, "estimators_features_", [None] * len(members))
    trees = []
    for index, (member, chosen) in enumerate(zip(members, columns, strict=True)):
        tree = _read_tree(member.tree_, kind, index, leaves=_combined_leaves(estimator, kind, index))
        if chosen is not None:
            numbers = np.asarray(chosen, np.int32)[np.maximum(tree.feature, 0)]
            tree = replace(tree, feature=np.where(tree.feature == LEAF, LEAF, numbers).astype(np.int32))
        trees.append(tree)
    if kind.family == "adaboost":
        return trees, float(np.asarray(estimator.estimator_weights_).sum())
    return trees, expected_depth(estimator) if kind.family == "isolation" else float(len(members))


def _combined_leaves(estimator: Any, kind: Kind, index: int) -> F64 | None:
    """Return the leaf values [N, K] of one tree of a combination; None for forests."""
    if kind.family == "isolation":
        return leaf_depths(estimator, index)
    if kind.family == "bagging":
        return None
    values = votes(estimator.estimators_[index], estimator.estimator_weights_[index], estimator.classes_)
    return values[:, 1:2] if kind.n_outputs == 1 else values


def _read_tree(
    tree: Any, kind: Kind, index: int, *, scale: float | None = None, output: int = 0, leaves: F64 | None = None
) -> TreeArrays:
    left = np.asarray(tree.children_left)
    feature = np.where(left == LEAF, LEAF, np.asarray(tree.feature)).astype(np.int32)
    inner = feature != LEAF
    threshold = np.where(inner, np.asarray(tree.threshold, np.float64), 0.0)
    if np.any(np.isnan(threshold)):
        raise ModelUnreadableError(f"the {kind.name} is damaged: a threshold of tree {index} is not a number")
    outputs: tuple[int, ...]
    if leaves is not None:
        values, outputs = leaves, tuple(range(leaves.shape[1]))
    elif scale is not None:
        # The library multiplies a leaf by the learning rate when it adds it: the same product, rounded once.
        values, outputs = scale * np.asarray(tree.value, np.float64)[:, 0, :1], (output,)
    else:
        values, outputs = _leaf_values(np.asarray(tree.value, np.float64), inner, kind, index)
    return TreeArrays(
        feature=feature,
        threshold=floor32(threshold),
        left=np.where(inner, left, LEAF).astype(np.int32),
        right=np.where(inner, np.asarray(tree.children_right), LEAF).astype(np.int32),
        default_left=np.asarray(tree.missing_go_to_left).astype(np.bool_),
        values=values,
        cover=np.asarray(tree.weighted_n_node_samples, np.float64),
        outputs=outputs,
        leaf_numbers=np.arange(len(feature), dtype=np.int32) if kind.family in _NUMBERED else None,
    )


def _leaf_values(value: F64, inner: Bool, kind: Kind, index: int) -> tuple[F64, tuple[int, ...]]:
    """Return what a tree [N, targets, classes] adds in its leaves, [N, K], and to which outputs."""
    if kind.targets:
        return _shares_of_targets(value, inner, kind, index), tuple(range(kind.n_outputs))
    if kind.classes is None:
        return value[:, :, 0], tuple(range(value.shape[1]))
    value = value[:, 0, :]
    if value.shape[1] != len(kind.classes):
        raise ModelUnreadableError(
            f"tree {index} of the {kind.name} has {value.shape[1]} of {len(kind.classes)} classes"
        )
    _check_shares(value, inner, kind)
    if kind.n_outputs == 1:
        return value[:, 1:2], (0,)
    return value, tuple(range(kind.n_outputs))


def _shares_of_targets(value: F64, inner: Bool, kind: Kind, index: int) -> F64:
    """Return the shares of all classes of all targets, [N, K]. Targets with fewer classes are padded."""
    sizes = [len(labels) for labels in kind.targets]
    if value.shape[1:] != (len(sizes), max(sizes)):
        raise ModelUnreadableError(
            f"tree {index} of the {kind.name} has values of shape {value.shape} for {len(sizes)} targets of {sizes} classes"
        )
    shares = [value[:, target, :size] for target, size in enumerate(sizes)]
    for each in shares:
        _check_shares(each, inner, kind)
    return np.hstack(shares)


def _check_shares(value: F64, inner: Bool, kind: Kind) -> None:
    # Before version 1.3 leaves contained weights, not probabilities; current scikit-learn itself predicts wrongly with such a
    # model.
    if np.any(np.abs(value[~inner].sum(axis=1) - 1.0) > _SHARES_TOLERANCE):
        raise UnsupportedModelError(
            f"the leaves of the {kind.name} contain class weights instead of probabilities, as scikit-learn below 1.3 wrote "
            "them; train the model again"
        )
