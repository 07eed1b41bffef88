"""YDF's trees as those of the IR.

A numeric condition is `x >= threshold` in float32, and its positive child the right one here; a category goes left if it is
among the condition's elements. A missing value takes the side that the condition states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlrf.builder.importers.join_trees import CategorySet, TreeArrays
from mlrf.builder.importers.ydf.protobuf import Message
from mlrf.core.errors import ModelUnreadableError, UnsupportedModelError
from mlrf.core.feature import Feature, Kind
from mlrf.core.forest import LEAF, NUMERIC, below32

_CONDITION, _LEAF_COUNT = 3, 4
_NA, _HIGHER, _TRUE, _CONTAINS, _BITMAP = 1, 2, 3, 4, 5
_OTHERS = {
    6: "thresholds of discretized numbers",
    7: "sums of several features (oblique splits)",
    8: "sequences of vectors",
}
_HALF = 0.5
LeafValues = Callable[[Message], Sequence[float]]


@dataclass(slots=True)
class TreeReader:
    """Reads trees one after the other from a sequence of nodes; collects the category sets that they share."""

    nodes: Iterator[Message]
    columns: dict[int, int]
    """The feature of each column of the data specification."""
    features: tuple[Feature, ...]
    values_of: LeafValues
    """What a leaf adds, one number for each of a tree's outputs."""
    sets: dict[CategorySet, int] = field(default_factory=dict)
    has_covers: bool = True
    tests_missing: bool = False
    """Whether a condition is that a number is missing."""

    def read(self, outputs: tuple[int, ...]) -> TreeArrays:
        """Return the next tree; ModelUnreadableError if the nodes end before it does."""
        rows: list[_Node] = []
        waiting = [(LEAF, False)]
        while waiting:
            parent, is_positive = waiting.pop()
            message = next(self.nodes, None)
            if message is None:
                raise ModelUnreadableError("the YDF model is cut off: its nodes end within a tree")
            number = len(rows)
            if parent != LEAF:
                rows[parent].children[is_positive] = number
            if _CONDITION in message:
                rows.append(self._inner(message.message(_CONDITION, "a condition")))
                waiting += [(number, True), (number, False)]
            else:
                rows.append(_Node(values=tuple(self.values_of(message)), cover=float(message.integer(_LEAF_COUNT))))
        for row in reversed(rows):
            if row.feature != LEAF:
                row.cover = sum(rows[child].cover for child in row.children)
        self.has_covers &= rows[0].cover > 0
        nothing = (0.0,) * len(outputs)
        return TreeArrays(
            feature=np.array([row.feature for row in rows], np.int32),
            threshold=np.array([row.threshold for row in rows]),
            left=np.array([row.children[row.positive_is_left] for row in rows], np.int32),
            right=np.array([row.children[not row.positive_is_left] for row in rows], np.int32),
            default_left=np.array([row.default_left for row in rows], np.bool_),
            values=np.array([row.values or nothing for row in rows], np.float64).reshape(len(rows), len(outputs)),
            cover=np.array([row.cover for row in rows]),
            outputs=outputs,
            category_set=np.array([row.category_set for row in rows], np.int32),
        )

    def _inner(self, node: Message) -> _Node:
        na_is_positive, column = bool(node.integer(1)), node.integer(2)
        if column not in self.columns:
            raise node.error(f"tests column {column}, which is no feature of the model")
        index = self.columns[column]
        feature, test = self.features[index], node.message(3, "a test")
        for number, what in _OTHERS.items():
            if number in test:
                raise UnsupportedModelError(
                    f"the YDF model splits by {what}, which mlrf does not support; train it without them"
                )
        if feature.kind is Kind.CATEGORICAL:
            elements = self._elements(test, len(feature.categories or ()))
            number = self.sets.setdefault(elements, len(self.sets))
            return _Node(index, default_left=na_is_positive, category_set=number, positive_is_left=True)
        if _NA in test:
            self.tests_missing = True
            # No number is above infinity, so that NaN alone is positive.
            return _Node(index, math.inf, default_left=False)
        if _TRUE in test and feature.kind is Kind.BOOLEAN:
            return _Node(index, _HALF, default_left=not na_is_positive)
        if _HIGHER not in test or feature.kind is not Kind.NUMERIC:
            raise node.error(f"has no condition that fits the feature {feature.name!r}")
        threshold = test.message(_HIGHER, "a threshold").float32(1)
        if math.isnan(threshold):
            raise node.error("has a threshold that is not a number")
        return _Node(index, float(below32(np.array([threshold]))[0]), default_left=not na_is_positive)

    @staticmethod
    def _elements(test: Message, count: int) -> CategorySet:
        if _CONTAINS in test:
            found = sorted(set(test.message(_CONTAINS, "a list of categories").integers(1)))
        elif _BITMAP in test:
            bits = test.message(_BITMAP, "a set of categories").raw(1)
            found = [code for code in range(min(count, 8 * len(bits))) if bits[code // 8] >> (code % 8) & 1]
        else:
            raise UnsupportedModelError(
                "the YDF model tests whether a category is missing, which mlrf does not support; train it without such splits"
            )
        if found and not 0 <= found[0] <= found[-1] < max(count, 1):
            raise test.error(f"tests a category beyond the {count} of its feature")
        return tuple(found)


@dataclass(slots=True)
class _Node:
    feature: int = LEAF
    threshold: float = 0.0
    default_left: bool = False
    category_set: int = NUMERIC
    positive_is_left: bool = False
    values: tuple[float, ...] = ()
    cover: float = 0.0
    children: list[int] = field(default_factory=lambda: [LEAF, LEAF])
    """The negative and the positive one."""
