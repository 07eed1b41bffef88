"""ONNX nodes as trees of the IR.

Every ordering test becomes `x <= t`, sides exchanged and thresholds moved to the next number where it needs to be. Tests for
equality become category sets; a chain of them on one feature that leads to the same node (how converters write a set of
categories) becomes one node.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mlrf.builder.importers.join_trees import CategorySet, TreeArrays
from mlrf.builder.importers.onnx_trees.tree_nodes import EQ, GT, GTE, LEAF, LT, MEMBER, NEQ, Nodes
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.forest import LEAF as NO_FEATURE
from mlrf.core.forest import NUMERIC, Precision, below32

_MAX_CODE = (1 << 31) - 2
_BY_VALUE = frozenset((EQ, NEQ, MEMBER))
_HITS_TOLERANCE = 1e-3
_DAMAGED = "the ONNX file's trees are not sound: "


class TreeReader:
    """Reads the trees of one operator; `category_sets` fills as it goes."""

    def __init__(self, nodes: Nodes, n_features: int, precision: Precision, *, with_hits: bool) -> None:
        """UnsupportedModelError if a feature is tested both by value and by order, or for a value that is not a code."""
        self.category_sets: list[CategorySet] = []
        self.categorical: dict[int, int] = {}
        """Features tested by value, and their greatest code."""
        self._nodes = nodes
        self._precision = precision
        self._with_hits = with_hits
        self._numbers: dict[CategorySet, int] = {}
        self._seen = bytearray(len(nodes.mode))
        self._alike: dict[int, int] = {}
        self._check_features(n_features)

    def read(self) -> list[TreeArrays]:
        """Return the trees in the order in which the operator adds them."""
        if self.categorical:
            self._alike = _alike(self._nodes)
        return [self._tree(root) for root in self._nodes.roots]

    def _check_features(self, n_features: int) -> None:
        nodes, by_order = self._nodes, set()
        for index, mode in enumerate(nodes.mode):
            if mode == LEAF:
                continue
            feature = nodes.feature[index]
            if not 0 <= feature < n_features:
                raise ModelUnreadableError(f"{_DAMAGED}a node tests column {feature} of {n_features}")
            if mode in _BY_VALUE:
                codes = self._codes(index)
                self.categorical[feature] = max(self.categorical.get(feature, 0), *codes, 0)
            else:
                by_order.add(feature)
                if math.isnan(nodes.value[index]):
                    raise ModelUnreadableError(f"{_DAMAGED}a threshold is not a number")
        if both := sorted(by_order & self.categorical.keys()):
            raise UnsupportedModelError(
                f"the ONNX model tests column {both[0]} both for equality, as a category, and by order, as a number; mlrf "
                "supports one of them per column; split it into two columns"
            )

    def _codes(self, index: int) -> CategorySet:
        nodes = self._nodes
        values = nodes.sets.get(index, []) if nodes.mode[index] == MEMBER else [nodes.value[index]]
        known = [value for value in values if not math.isnan(value)]
        for value in known:
            if not value.is_integer() or not 0 <= value <= _MAX_CODE:
                raise UnsupportedModelError(
                    f"the ONNX model tests column {nodes.feature[index]} for equality with {value!r}; mlrf supports such tests "
                    f"for the codes of categories, integers from 0 to {_MAX_CODE}"
                )
        return tuple(sorted({int(value) for value in known}))

    def _tree(self, root: int) -> TreeArrays:
        nodes = self._nodes
        columns = _Columns()
        leaves: list[tuple[int, int]] = []
        # A node's index in the file, the slot for its number, and how many times its hits count.
        waiting: list[tuple[int, int, bool, float]] = [(root, NO_FEATURE, False, 1.0)]
        while waiting:
            index, parent, is_left, times = waiting.pop()
            if self._seen[index]:
                raise UnsupportedModelError(
                    "the ONNX model's trees share branches or have cycles: a node has two parents; export it with trees "
                    "of their own"
                )
            self._seen[index] = 1
            number = columns.add(parent, is_left)
            hits = nodes.hits[index] * times if self._with_hits and nodes.hits is not None else 0.0
            if nodes.mode[index] == LEAF:
                leaves.append((number, index))
                columns.cover[number] = hits
                continue
            columns.feature[number] = nodes.feature[index]
            if nodes.mode[index] in _BY_VALUE:
                left, right, share = self._by_value(index, columns, number)
                waiting += [(right, number, False, times), (left, number, True, times * share)]
                continue
            threshold, exchanged = self._threshold(index)
            columns.threshold[number] = threshold
            columns.default_left[number] = nodes.nan_yes[index] != exchanged
            left, right = nodes.yes[index], nodes.no[index]
            if exchanged:
                left, right = right, left
            waiting += [(right, number, False, times), (left, number, True, times)]
        return self._arrays(columns, leaves)

    def _threshold(self, index: int) -> tuple[float, bool]:
        """Return t of `x <= t`, and whether rows that pass the file's test go right."""
        mode, value = self._nodes.mode[index], self._nodes.value[index]
        if mode in (LT, GTE):
            value = (
                float(below32(np.array(value))) if self._precision == "float32" else math.nextafter(value, -math.inf)
            )
        return value, mode in (GT, GTE)

    def _by_value(self, index: int, columns: _Columns, number: int) -> tuple[int, int, float]:
        """Return the sides of a set, and how many times the left one's hits count: once for each link of a chain."""
        nodes = self._nodes
        codes, mode = set(self._codes(index)), nodes.mode[index]
        yes, no, nan_yes = nodes.yes[index], nodes.no[index], nodes.nan_yes[index]
        if mode == NEQ:
            yes, no, nan_yes = no, yes, False  # NaN is unequal to every value
        share, first = 1.0, yes
        while (
            mode != NEQ
            and nodes.mode[no] in (EQ, MEMBER)
            and nodes.feature[no] == nodes.feature[index]
            and not (nan_yes or nodes.nan_yes[no])
            and self._alike[nodes.yes[no]] == self._alike[yes]
            and not self._seen[no]
        ):
            codes.update(self._codes(no))
            if self._with_hits and nodes.hits is not None and nodes.hits[first] > 0:
                share += nodes.hits[nodes.yes[no]] / nodes.hits[first]
            self._seen[no] = 1
            no = nodes.no[no]
        key = tuple(sorted(codes))
        if key not in self._numbers:
            self._numbers[key] = len(self.category_sets)
            self.category_sets.append(key)
        columns.category_set[number] = self._numbers[key]
        columns.default_left[number] = nan_yes
        return yes, no, share

    def _arrays(self, columns: _Columns, leaves: list[tuple[int, int]]) -> TreeArrays:
        weights = [(number, self._nodes.weights.get(index, [])) for number, index in leaves]
        outputs = tuple(sorted({output for _, adds in weights for output, _ in adds})) or (0,)
        column = {output: index for index, output in enumerate(outputs)}
        values = np.zeros((len(columns.feature), len(outputs)))
        for number, adds in weights:
            for output, value in adds:
                if values[number, column[output]] != 0.0:
                    raise UnsupportedModelError(
                        "a leaf of the ONNX model adds to one output twice; mlrf supports one value for each output"
                    )
                values[number, column[output]] = value
        for number in range(len(columns.feature) - 1, -1, -1):  # children come after their parents
            if columns.feature[number] != NO_FEATURE:
                columns.cover[number] = columns.cover[columns.left[number]] + columns.cover[columns.right[number]]
        return TreeArrays(
            feature=np.array(columns.feature, np.int32),
            threshold=np.array(columns.threshold, np.float64),
            left=np.array(columns.left, np.int32),
            right=np.array(columns.right, np.int32),
            default_left=np.array(columns.default_left, np.bool_),
            values=values,
            cover=np.array(columns.cover, np.float64),
            outputs=outputs,
            category_set=np.array(columns.category_set, np.int32),
        )


def has_real_hits(nodes: Nodes) -> bool:
    """Whether hit rates are counts of rows: not all equal, and a node's the sum of its children's."""
    hits = nodes.hits
    if hits is None or not all(math.isfinite(h) and h >= 0 for h in hits) or len(set(hits)) == 1:
        return False
    return all(
        abs(hits[nodes.yes[index]] + hits[nodes.no[index]] - hits[index]) <= _HITS_TOLERANCE * hits[index]
        for index, mode in enumerate(nodes.mode)
        if mode != LEAF
    )


class _Columns:
    """The nodes of one tree while they grow."""

    def __init__(self) -> None:
        self.feature: list[int] = []
        self.threshold: list[float] = []
        self.left: list[int] = []
        self.right: list[int] = []
        self.default_left: list[bool] = []
        self.category_set: list[int] = []
        self.cover: list[float] = []

    def add(self, parent: int, is_left: bool) -> int:
        number = len(self.feature)
        if parent != NO_FEATURE:
            (self.left if is_left else self.right)[parent] = number
        self.feature.append(NO_FEATURE)
        self.threshold.append(0.0)
        self.left.append(NO_FEATURE)
        self.right.append(NO_FEATURE)
        self.default_left.append(False)
        self.category_set.append(NUMERIC)
        self.cover.append(0.0)
        return number


def _alike(nodes: Nodes) -> dict[int, int]:
    """Return one number per node; nodes with equal branches have the same one."""
    numbers: dict[tuple[object, ...], int] = {}
    found: dict[int, int] = {}
    for root in nodes.roots:
        waiting, open_nodes = [root], set[int]()
        while waiting:
            index = waiting[-1]
            children: Sequence[int] = () if nodes.mode[index] == LEAF else (nodes.yes[index], nodes.no[index])
            missing = [child for child in children if child not in found]
            if missing and index in open_nodes:
                raise ModelUnreadableError(f"{_DAMAGED}its branches form a cycle")
            if missing:
                open_nodes.add(index)
                waiting += missing
                continue
            waiting.pop()
            key: tuple[object, ...] = (
                (LEAF, *nodes.weights.get(index, []))
                if not children
                else (
                    nodes.mode[index],
                    nodes.feature[index],
                    nodes.value[index],
                    nodes.nan_yes[index],
                    tuple(nodes.sets.get(index, ())),
                    *(found[child] for child in children),
                )
            )
            found[index] = numbers.setdefault(key, len(numbers))
    return found
