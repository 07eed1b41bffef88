"""One tree of a model file, its fields read and checked; still in LightGBM's numbering.

LightGBM numbers inner nodes 0 … L-2 and, separately, leaves 0 … L-1; a child below 0 is the leaf `~child`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise

from mlrf.builder.importers.lightgbm.text import Fields
from mlrf.core.errors import ModelUnreadableError

_CATEGORICAL_BIT = 1
_DEFAULT_LEFT_BIT = 2
_MISSING_SHIFT = 2
_KNOWN_MISSING = 3  # None, Zero, NaN
_WORD_BITS = 32
_MAX_WORD = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Node:
    """An inner node: its test and its children."""

    feature: int
    threshold: float
    categories: tuple[int, ...] | None
    """Codes that go left, ascending; None at a numeric node."""
    missing: int
    default_left: bool
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Tree:
    """L leaves and L - 1 inner nodes."""

    nodes: list[Node]
    leaf_values: list[float]
    leaf_counts: list[float]
    linear: list[LinearLeaf] | None = None
    """The functions of the leaves of a linear tree."""


@dataclass(frozen=True, slots=True)
class LinearLeaf:
    """A constant, and terms in the order in which LightGBM adds them; columns are raw features."""

    constant: float
    columns: list[int]
    coefficients: list[float]


def read_tree(fields: Fields, index: int) -> Tree:
    """Read one tree's fields; ModelUnreadableError or UnsupportedModelError name the tree and the field."""
    reader = _Reader(fields, index)
    leaves = reader.integer("num_leaves")
    if leaves < 1:
        raise reader.error(f"has num_leaves={leaves}")
    values = reader.floats("leaf_value", leaves)
    linear = _linear_leaves(reader, leaves) if fields.get("is_linear", "0") != "0" else None
    if leaves == 1:
        counts = reader.floats("leaf_count", 1) if fields.get("leaf_count") else [0.0]
        return Tree([], values, counts, linear)
    # A file without counts still predicts; its explanations then split evenly.
    counts = reader.floats("leaf_count", leaves) if "leaf_count" in fields else [0.0] * leaves
    return Tree(_nodes(reader, leaves - 1), values, counts, linear)


def _linear_leaves(reader: _Reader, count: int) -> list[LinearLeaf]:
    constants, sizes = reader.floats("leaf_const", count), reader.integers("num_features", count)
    if min(sizes) < 0:
        raise reader.error(f"has a num_features of {min(sizes)}")
    ends = list(accumulate(sizes, initial=0))
    columns, coefficients = reader.integers("leaf_features", ends[-1]), reader.floats("leaf_coeff", ends[-1])
    if not all(map(math.isfinite, constants + coefficients)):
        raise reader.error("has a linear leaf with a number that is not finite")
    return [
        LinearLeaf(constant, columns[a:b], coefficients[a:b])
        for constant, (a, b) in zip(constants, pairwise(ends), strict=True)
    ]


def _nodes(reader: _Reader, count: int) -> list[Node]:
    thresholds = reader.floats("threshold", count)
    sets = _category_sets(reader)
    columns = [reader.integers(key, count) for key in ("split_feature", "decision_type", "left_child", "right_child")]
    nodes = []
    for threshold, feature, decision, left, right in zip(thresholds, *columns, strict=True):
        missing = decision >> _MISSING_SHIFT
        if not 0 <= missing < _KNOWN_MISSING:
            raise reader.error(f"has the unknown decision_type {decision}")
        categories = None
        if decision & _CATEGORICAL_BIT:
            if not (threshold.is_integer() and 0 <= threshold < len(sets)):
                raise reader.error(f"has a categorical node without a category set ({threshold})")
            categories = sets[int(threshold)]
        nodes.append(
            Node(feature, threshold, categories, missing, bool(decision & _DEFAULT_LEFT_BIT), left, right),
        )
    return nodes


def _category_sets(reader: _Reader) -> list[tuple[int, ...]]:
    count = reader.integer("num_cat")
    if count == 0:
        return []
    if count < 0:
        raise reader.error(f"has num_cat={count}")
    boundaries = reader.integers("cat_boundaries", count + 1)
    words = reader.integers("cat_threshold", boundaries[-1])
    if boundaries[0] != 0 or any(a > b for a, b in pairwise(boundaries)):
        raise reader.error("has cat_boundaries that do not ascend from 0")
    if any(not 0 <= word < 1 << _WORD_BITS for word in words):
        raise reader.error("has a word in cat_threshold beyond 32 bits")
    return [_codes(words[a:b]) for a, b in pairwise(boundaries)]


def _codes(words: list[int]) -> tuple[int, ...]:
    return tuple(
        position * _WORD_BITS + bit
        for position, word in enumerate(words)
        for bit in range(_WORD_BITS)
        if word >> bit & 1
    )


class _Reader:
    """The fields of one tree as lists of numbers of a stated length."""

    def __init__(self, fields: Fields, index: int) -> None:
        self._fields = fields
        self._index = index

    def error(self, reason: str) -> ModelUnreadableError:
        return ModelUnreadableError(f"the model file is damaged: tree {self._index} {reason}")

    def integer(self, key: str) -> int:
        return self.integers(key, 1)[0]

    def integers(self, key: str, count: int) -> list[int]:
        try:
            numbers = [int(word) for word in self._words(key, count)]
        except ValueError as error:
            raise self.error(f"has a {key} that is not an integer: {error}") from error
        if any(abs(number) > _MAX_WORD for number in numbers):
            raise self.error(f"has a {key} beyond 32 bits")
        return numbers

    def floats(self, key: str, count: int) -> list[float]:
        try:
            numbers = [float(word) for word in self._words(key, count)]
        except ValueError as error:
            raise self.error(f"has a {key} that is not a number: {error}") from error
        # Thresholds may be infinite: LightGBM separates NaN from all numbers with `x <= inf`.
        if any(map(math.isnan, numbers)):
            raise self.error(f"has a {key} that is not a number")
        return numbers

    def _words(self, key: str, count: int) -> list[str]:
        if key not in self._fields:
            raise self.error(f"has no {key}")
        text = self._fields[key]
        words = text.split()
        if len(words) != count:
            raise self.error(f"has {len(words)} {key}, not {count}")
        if "_" in text:  # Python reads 1_0 as 10; no other reader does.
            raise self.error(f"has a {key} that is not a number")
        return words
