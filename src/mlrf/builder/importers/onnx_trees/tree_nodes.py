"""The attributes of the tree operators as plain nodes: versions 1 and 3 of ai.onnx.ml, and `TreeEnsemble` of version 5.

Both become one list of nodes over all trees, by index, with what each leaf adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError

LEAF = "LEAF"
LEQ, LT, GTE, GT, EQ, NEQ, MEMBER = (f"BRANCH_{rule}" for rule in ("LEQ", "LT", "GTE", "GT", "EQ", "NEQ", "MEMBER"))
_MODES = (LEQ, LT, GTE, GT, EQ, NEQ, MEMBER)
"""By their number in version 5."""
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


@dataclass(slots=True)
class Nodes:
    """Nodes by index; `yes` and `no` are the indices of the nodes that a test leads to."""

    roots: list[int]
    mode: list[str]
    feature: list[int]
    value: list[float]
    yes: list[int]
    no: list[int]
    nan_yes: list[bool]
    """Whether a missing value passes the test."""
    hits: list[float] | None
    """Hit rates, also of leaves; None if the file has none."""
    weights: dict[int, list[tuple[int, float]]]
    """By leaf: (output, what it adds) in the operator's order."""
    sets: dict[int, list[float]] = field(default_factory=dict)
    """By node that tests membership: its values."""


@dataclass(slots=True)
class Ensemble:
    """One operator: its trees, and how it finishes their sum."""

    operator: str
    nodes: Nodes
    n_outputs: int
    base: list[float]
    aggregate: str
    transform: str
    labels: list[str] | list[int] | None
    """For a classifier, in the order of its outputs."""
    class_ids: frozenset[int]
    """The outputs that a leaf of a classifier adds to."""
    is_double: bool
    """Whether thresholds and weights are float64."""


def read_ensemble(node: onnx.NodeProto) -> Ensemble:
    """Return the content of a tree operator; ModelUnreadableError if its attributes do not match one another."""
    attributes = _Attributes(node)
    return _read_version_5(attributes) if node.op_type == "TreeEnsemble" else _read_version_3(attributes)


class _Attributes:
    def __init__(self, node: onnx.NodeProto) -> None:
        self.operator = node.op_type
        try:
            self._values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        except ValueError as error:
            raise ModelUnreadableError(f"{node.op_type} has an attribute without a type: {error}") from error

    def error(self, name: str, reason: str) -> ModelUnreadableError:
        return ModelUnreadableError(f"the ONNX file is damaged: {name} of {self.operator} {reason}")

    def get(self, name: str, default: Any = None) -> Any:
        return self._values.get(name, default)

    def integers(self, name: str, count: int | None = None) -> list[int]:
        return self._checked(name, self._values.get(name, []), count, int)

    def numbers(self, name: str, count: int | None = None) -> list[float]:
        """Return an attribute of floats, or the tensor of float or double that version 3 has instead."""
        found = self._values.get(f"{name}_as_tensor", self._values.get(name, []))
        if isinstance(found, onnx.TensorProto):
            found = self.tensor(name, found)
        return self._checked(name, found, count, float)

    def tensor(self, name: str, tensor: onnx.TensorProto | None) -> list[float]:
        if tensor is None:
            return []
        try:
            values = numpy_helper.to_array(tensor)
        except Exception as error:
            raise self.error(name, "is not a readable tensor") from error
        if values.dtype not in (np.float32, np.float64, np.uint8, np.int64):
            raise self.error(name, f"holds {values.dtype}")
        return values.reshape(-1).tolist()

    def words(self, name: str) -> list[str]:
        return [
            word.decode("utf-8", "replace") for word in self._checked(name, self._values.get(name, []), None, bytes)
        ]

    def word(self, name: str, default: str) -> str:
        found = self._values.get(name, default)
        return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)

    def is_double(self, *names: str) -> bool:
        tensors = [self._values.get(name) for name in names]
        return any(isinstance(t, onnx.TensorProto) and t.data_type == onnx.TensorProto.DOUBLE for t in tensors)

    def _checked(self, name: str, found: Any, count: int | None, kind: type) -> list[Any]:
        if not isinstance(found, Sequence) or isinstance(found, str | bytes):
            raise self.error(name, "is not a list")
        values = list(found)
        if not all(isinstance(value, kind) for value in values):
            raise self.error(name, f"contains values other than {kind.__name__}")
        if count is not None and len(values) != count:
            raise self.error(name, f"has {len(values)} entries, not {count}")
        return values


def _read_version_3(attributes: _Attributes) -> Ensemble:
    is_classifier = attributes.operator == "TreeEnsembleClassifier"
    node_ids = attributes.integers("nodes_nodeids")
    n = len(node_ids)
    if n == 0:
        raise attributes.error("nodes_nodeids", "is empty")
    tree_ids = attributes.integers("nodes_treeids", n)
    modes = attributes.words("nodes_modes")
    if len(modes) != n or (unknown := set(modes) - {*_MODES[:-1], LEAF}):
        raise attributes.error("nodes_modes", f"holds {min(unknown)!r}" if len(modes) == n else "is too short")
    position = {key: index for index, key in enumerate(zip(tree_ids, node_ids, strict=True))}
    if len(position) != n:
        raise attributes.error("nodes_nodeids", "names a node of a tree twice")

    def children(name: str) -> list[int]:
        ids = attributes.integers(name, n)
        try:
            return [
                0 if mode == LEAF else position[tree, child]
                for mode, tree, child in zip(modes, tree_ids, ids, strict=True)
            ]
        except KeyError as error:
            raise attributes.error(name, f"names node {error.args[0][1]}, which is not in its tree") from error

    yes, no = children("nodes_truenodeids"), children("nodes_falsenodeids")
    prefix, targets = ("class", "class_ids") if is_classifier else ("target", "target_ids")
    ids = attributes.integers(targets)
    leaf_trees, leaf_nodes = (attributes.integers(f"{prefix}_{what}", len(ids)) for what in ("treeids", "nodeids"))
    values = attributes.numbers(f"{prefix}_weights", len(ids))
    weights: dict[int, list[tuple[int, float]]] = {}
    for tree, node, target, value in zip(leaf_trees, leaf_nodes, ids, values, strict=True):
        if (tree, node) not in position or modes[position[tree, node]] != LEAF:
            raise attributes.error(f"{prefix}_nodeids", f"names node {node} of tree {tree}, which is not a leaf")
        weights.setdefault(position[tree, node], []).append((target, value))
    tracks = attributes.integers("nodes_missing_value_tracks_true")
    hits = attributes.numbers("nodes_hitrates")
    nodes = Nodes(
        roots=_roots(attributes, tree_ids, modes, yes, no),
        mode=modes,
        feature=attributes.integers("nodes_featureids", n),
        value=attributes.numbers("nodes_values", n),
        yes=yes,
        no=no,
        nan_yes=[bool(t) for t in tracks] if len(tracks) == n else [False] * n,
        hits=hits if len(hits) == n else None,
        weights=weights,
    )
    labels: list[str] | list[int] | None = None
    if is_classifier:
        labels = attributes.words("classlabels_strings") or attributes.integers("classlabels_int64s")
        if len(labels) < 2 or len(set(labels)) != len(labels):  # noqa: PLR2004
            raise attributes.error("the list of class labels", "does not name two classes or more, each once")
    n_outputs = len(labels) if labels is not None else attributes.get("n_targets", 1)
    return Ensemble(
        operator=attributes.operator,
        nodes=nodes,
        n_outputs=_outputs(attributes, n_outputs, ids),
        base=attributes.numbers("base_values"),
        aggregate="SUM" if is_classifier else attributes.word("aggregate_function", "SUM"),
        transform=attributes.word("post_transform", "NONE"),
        labels=labels,
        class_ids=frozenset(ids) if is_classifier else frozenset(),
        is_double=attributes.is_double("nodes_values_as_tensor", f"{prefix}_weights_as_tensor"),
    )


def _read_version_5(attributes: _Attributes) -> Ensemble:
    features = attributes.integers("nodes_featureids")
    n = len(features)
    numbers = [int(m) for m in attributes.tensor("nodes_modes", attributes.get("nodes_modes"))]
    if len(numbers) != n or not all(0 <= m < len(_MODES) for m in numbers):
        raise attributes.error("nodes_modes", "does not name a mode for each node")
    splits = attributes.tensor("nodes_splits", attributes.get("nodes_splits"))
    values = attributes.tensor("leaf_weights", attributes.get("leaf_weights"))
    targets = attributes.integers("leaf_targetids", len(values))
    if len(splits) != n:
        raise attributes.error("nodes_splits", f"has {len(splits)} entries, not {n}")

    def children(side: str) -> list[int]:
        ids, leaves = (attributes.integers(f"nodes_{side}{what}", n) for what in ("nodeids", "leafs"))
        for child, is_leaf in zip(ids, leaves, strict=True):
            if not 0 <= child < (len(values) if is_leaf else n):
                raise attributes.error(f"nodes_{side}nodeids", f"names node {child}, which does not exist")
        return [n + child if is_leaf else child for child, is_leaf in zip(ids, leaves, strict=True)]

    roots = attributes.integers("tree_roots")
    if not roots or not all(0 <= root < n for root in roots):
        raise attributes.error("tree_roots", "does not name a node for each tree")
    tracks = attributes.integers("nodes_missing_value_tracks_true")
    modes = [_MODES[m] for m in numbers]
    m = len(values)
    return Ensemble(
        operator=attributes.operator,
        nodes=Nodes(
            roots=roots,
            mode=modes + [LEAF] * m,
            feature=features + [0] * m,
            value=[float(s) for s in splits] + [0.0] * m,
            yes=children("true") + [0] * m,
            no=children("false") + [0] * m,
            nan_yes=([bool(t) for t in tracks] if len(tracks) == n else [False] * n) + [False] * m,
            hits=None,  # of inner nodes only: they do not distinguish a leaf from its sibling
            weights={n + i: [(target, value)] for i, (target, value) in enumerate(zip(targets, values, strict=True))},
            sets=_sets(attributes, modes),
        ),
        n_outputs=_outputs(attributes, attributes.get("n_targets", 1), targets),
        base=[],
        aggregate=_named(attributes, "aggregate_function", 1, _AGGREGATES),
        transform=_named(attributes, "post_transform", 0, _TRANSFORMS),
        labels=None,
        class_ids=frozenset(),
        is_double=attributes.is_double("nodes_splits"),
    )


def _sets(attributes: _Attributes, modes: list[str]) -> dict[int, list[float]]:
    """Return the values of each membership test from one list for all, separated by NaN."""
    testing = [index for index, mode in enumerate(modes) if mode == MEMBER]
    groups: list[list[float]] = [[]]
    for value in attributes.tensor("membership_values", attributes.get("membership_values")):
        if value != value:  # noqa: PLR0124  NaN alone
            groups.append([])
        else:
            groups[-1].append(float(value))
    if len(groups) < len(testing):
        raise attributes.error("membership_values", f"has {len(groups)} sets for {len(testing)} nodes")
    return dict(zip(testing, groups, strict=False))


def _roots(attributes: _Attributes, trees: list[int], modes: list[str], yes: list[int], no: list[int]) -> list[int]:
    """Return the root of each tree (the node that is not a node's child), in the order in which the trees appear."""
    reached = {child for side in (yes, no) for child, mode in zip(side, modes, strict=True) if mode != LEAF}
    roots: dict[int, list[int]] = {}
    for index, tree in enumerate(trees):
        found = roots.setdefault(tree, [])
        if index not in reached:
            found.append(index)
    for tree, found in roots.items():
        if len(found) != 1:
            raise attributes.error("nodes_treeids", f"gives tree {tree} {len(found)} roots")
    return [found[0] for found in roots.values()]


def _outputs(attributes: _Attributes, n_outputs: Any, ids: list[int]) -> int:
    if not isinstance(n_outputs, int) or not 1 <= n_outputs <= 1 << 16:
        raise attributes.error("n_targets", f"is {n_outputs!r}")
    if ids and not 0 <= min(ids) <= max(ids) < n_outputs:
        raise attributes.error("the list of targets", f"names an output beyond its {n_outputs}")
    return n_outputs


def _named(attributes: _Attributes, name: str, default: int, names: tuple[str, ...]) -> str:
    number = attributes.get(name, default)
    if not isinstance(number, int) or not 0 <= number < len(names):
        raise UnsupportedModelError(f"{name} of {attributes.operator} is {number!r}, which mlrf does not support")
    return names[number]
