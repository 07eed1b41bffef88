"""The tree IR (intermediate representation): one flat form of every tree ensemble, whatever library trained it.

Importers write it and exporters read it; a server never does (it maps the bundle's files instead), so this module,
`table_columns` and `linear_leaves` are the only ones of `core` that may use NumPy. The IR's decision rules are exact:

- a numeric node sends x left when `x <= threshold`;
- NaN at a numeric node follows `missing`: NONE reads it as 0.0, NAN and ZERO send it to the default side;
- ZERO sends every x with |x| <= ZERO_BAND to the default side as well;
- a categorical node truncates x toward zero and sends it left when the code is in the node's set; a number at or below
  `no_code_up_to` is in no set; NaN goes to the default side.

If `inputs` is "float32", every x is first rounded to float32, and thresholds are float32 numbers. For libraries with other
rules (`x < t`, a float64 threshold and a float32 x, values near zero read as zero) the importer moves the thresholds with
`floor32` and `below32`, so that these rules choose the same branch for every float64. A leaf with K values becomes K
consecutive trees that differ only in values and output. If a forest has `tables` (`table_columns`), nodes test their columns as
features after its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import ModelUnreadableError
from mlrf.core.linear_leaves import LinearLeaves
from mlrf.core.table_columns import TableColumns

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]

ZERO_BAND = float(np.float32(1e-35))
"""LightGBM's kZeroThreshold: a node with the missing rule ZERO treats numbers this close to zero as zero."""

TRUNCATED = -1.0
"""`no_code_up_to` of a library that truncates toward zero first, so that -0.5 is the code 0."""
NOT_NEGATIVE = -5e-324
"""`no_code_up_to` of a library in which no number below 0 is a category."""

LEAF = -1
NUMERIC = -1

Precision = Literal["float64", "float32"]


class Missing(IntEnum):
    """How a numeric node treats NaN, and, with ZERO, values near zero."""

    NONE = 0
    ZERO = 1
    NAN = 2


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """T trees with N nodes in all, K outputs, S category sets.

    Nodes of one tree are contiguous, its root first; children are absolute node numbers larger than their parent's. The
    raw margin of output k is the sum of the leaves of the trees of output k, added in the order of the trees in the
    precision that `rounding` names, then divided by `divisor` (1, or the number of iterations of a random forest) and
    multiplied by `scale`. `base[k]` is the start of the sum, or its last term if `base_order` is "last".
    """

    n_features: int
    n_outputs: int
    tree_offsets: I64
    """[T + 1] first node of each tree, then N."""
    tree_output: I32
    """[T] the output that each tree adds to."""
    feature: I32
    """[N] column tested, LEAF at leaves; from `n_features` on those of the tables."""
    threshold: F64
    """[N] numeric nodes only, never NaN; +inf separates NaN from all numbers (LightGBM uses it)."""
    left: I32
    """[N] absolute node number, LEAF at leaves."""
    right: I32
    """[N] absolute node number, LEAF at leaves."""
    missing: U8
    """[N] a `Missing`."""
    default_left: Bool
    """[N] whether missing values go left."""
    category_set: I32
    """[N] index of the set that goes left, NUMERIC at numeric nodes and leaves."""
    value: F64
    """[N] leaves only."""
    cover: F64
    """[N] weight of the training rows that reached the node; a parent's is the sum of its children's."""
    set_offsets: I64
    """[S + 1] first code of each category set."""
    set_codes: I32
    """[set_offsets[-1]] codes, ascending within a set, none below 0."""
    base: F64
    """[K] first or last term of each sum."""
    divisor: float = 1.0
    rounding: Precision = "float64"
    """Precision of each step of the sum, of the division, and of the scaling; of mixed precisions the higher."""
    float32_outputs: Bool | None = None
    """[K] which outputs are summed in float32 although `rounding` is float64; None where all are alike."""
    inputs: Precision = "float64"
    """Precision that each value of a row is rounded to before it is compared."""
    scale: float = 1.0
    base_order: Literal["first", "last"] = "first"
    no_code_up_to: float = TRUNCATED
    """TRUNCATED or NOT_NEGATIVE."""
    tables: TableColumns | None = None
    linear: LinearLeaves | None = None
    """Of a forest whose leaves are linear functions; `value` is then what a leaf adds where it reads NaN."""
    leaf_numbers: I32 | None = None
    """[N] the training library's own number of each leaf within its tree; None where the library numbers no leaves."""
    leaf_trees: I64 | None = None
    """[C] the trees that the library has leaf numbers for: of K trees that share a leaf of K values, the first. With
    `leaf_numbers` alone."""

    @property
    def n_inputs(self) -> int:
        """Number of columns that nodes may test: the features and the columns of the tables."""
        return self.n_features + (0 if self.tables is None else self.tables.n_columns)

    @property
    def owner(self) -> I64:
        """[n_inputs] the feature that a contribution of a column counts for, or `n_features` plus the index of its group."""
        own = np.arange(self.n_features)
        return own if self.tables is None else np.concatenate([own, self.tables.owners(self.n_features)])

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return len(self.tree_output)

    @property
    def n_nodes(self) -> int:
        """Number of nodes, leaves included."""
        return len(self.feature)

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return int(np.count_nonzero(self.feature == LEAF))

    def category_codes(self, index: int) -> I32:
        """Return the ascending codes of one category set."""
        return self.set_codes[self.set_offsets[index] : self.set_offsets[index + 1]]

    def expected_margin(self) -> list[float]:
        """Return the mean raw margin over the training rows, [K]: each leaf weighted by its share of its tree's cover.

        Computed from the covers as in path-dependent TreeSHAP (Lundberg et al. 2020), so that contributions plus this base are
        the margin. A node with a cover of zero splits evenly.
        """
        mean = self.value.copy()
        # Children have larger numbers than their parents, so one backward pass visits every child before its parent.
        for node in range(self.n_nodes - 1, -1, -1):
            if self.feature[node] != LEAF:
                low, high = int(self.left[node]), int(self.right[node])
                weight = self.cover[low] + self.cover[high]
                share = self.cover[low] / weight if weight > 0 else 0.5
                mean[node] = share * mean[low] + (1.0 - share) * mean[high]
        roots = mean[self.tree_offsets[:-1]]
        if np.all(self.feature == LEAF):
            # A single leaf has no contributions that could absorb float32 rounding, so the base is the margin itself.
            return self._sums(roots, [np.float32 if single else np.float64 for single in self.sums_in_float32])
        return self._sums(roots, [np.float64] * self.n_outputs)

    @property
    def sums_in_float32(self) -> list[bool]:
        """For each output, whether it is summed in float32."""
        if self.float32_outputs is not None:
            return [bool(single) for single in self.float32_outputs]
        return [self.rounding == "float32"] * self.n_outputs

    def _sums(self, roots: F64, numbers: Sequence[type[np.float64 | np.float32]]) -> list[float]:
        """Return the margins [K] of trees whose values are `roots` [T], each step rounded to its output's type of numbers."""
        starts_at_base = self.base_order == "first"
        totals = [number(b if starts_at_base else 0.0) for b, number in zip(self.base, numbers, strict=True)]
        for output, value in zip(self.tree_output.tolist(), roots.tolist(), strict=True):
            totals[output] = totals[output] + numbers[output](value)
        margins = []
        for total, base, number in zip(totals, self.base.tolist(), numbers, strict=True):
            margin = total / number(self.divisor) * number(self.scale)
            margins.append(float(margin if starts_at_base else number(float(margin) + base)))
        return margins

    def validate(self) -> None:
        """Check every invariant that this class states; ModelUnreadableError names the first that does not hold."""
        n = self.n_nodes
        per_node = ("threshold", "left", "right", "missing", "default_left", "category_set", "value", "cover")
        for name in per_node:
            _require(getattr(self, name).shape == (n,), f"{name} has {getattr(self, name).shape}, not ({n},)")
        _require(self.n_features >= 1, "the model has no features")
        _require(self.n_outputs >= 1 and self.base.shape == (self.n_outputs,), "base and outputs do not match")
        offsets = self.tree_offsets
        _require(offsets.shape == (self.n_trees + 1,), "tree_offsets and tree_output do not match")
        _require(int(offsets[0]) == 0 and int(offsets[-1]) == n, "tree_offsets do not span the nodes")
        _require(bool(np.all(np.diff(offsets) > 0)), "a tree has no node")
        _require(bool(np.all((self.tree_output >= 0) & (self.tree_output < self.n_outputs))), "a tree has no output")
        inner = self.feature != LEAF
        _require(bool(np.all((self.feature >= LEAF) & (self.feature < self.n_inputs))), "a node tests no feature")
        leaves = ~inner
        _require(bool(np.all(self.left[leaves] == LEAF) and np.all(self.right[leaves] == LEAF)), "a leaf has children")
        tree_of = np.repeat(np.arange(self.n_trees), np.diff(offsets))
        nodes = np.arange(n)
        for side in (self.left, self.right):
            child = side[inner]
            _require(bool(np.all(child > nodes[inner])), "a child is before its parent")
            _require(bool(np.all(child < offsets[tree_of[inner] + 1])), "a child is outside its tree")
        parents = np.bincount(np.concatenate([self.left[inner], self.right[inner]]), minlength=n)
        roots = np.zeros(n, dtype=np.int64)
        roots[offsets[:-1]] = 1
        _require(bool(np.all(parents + roots == 1)), "a node has no parent, or two")
        _require(not bool(np.any(np.isnan(self.threshold))), "a threshold is not a number")
        _require(bool(np.all(np.isfinite(self.value[leaves]))), "a leaf value is not finite")
        _require(bool(np.all(np.isfinite(self.cover) & (self.cover >= 0))), "a cover is negative or not finite")
        _require(bool(np.all(self.missing <= max(Missing))), "a missing rule is unknown")
        _require(bool(np.all(self.category_set[leaves] == NUMERIC)), "a leaf has a category set")
        n_sets = len(self.set_offsets) - 1
        _require(
            bool(np.all((self.category_set >= NUMERIC) & (self.category_set < n_sets))), "a category set is missing"
        )
        _require(
            int(self.set_offsets[0]) == 0 and int(self.set_offsets[-1]) == len(self.set_codes),
            "category sets end early",
        )
        _require(bool(np.all(np.diff(self.set_offsets) >= 0)), "a category set has a negative size")
        for index in range(n_sets):
            codes = self.category_codes(index)
            _require(bool(np.all(codes >= 0) and np.all(np.diff(codes) > 0)), "a category set is not ascending")
        _require(bool(np.all(np.isfinite(self.base))), "a base value is not finite")
        _require(math.isfinite(self.divisor) and self.divisor > 0, "the divisor is not positive")
        _require(math.isfinite(self.scale) and self.scale != 0, "the scale is zero or not finite")
        self._check_linear_leaves(leaves)
        if self.leaf_numbers is not None and self.leaf_trees is not None:
            _require(bool(np.all(self.leaf_numbers[leaves] >= 0)), "a leaf has no number")
            _require(bool(np.all((self.leaf_trees >= 0) & (self.leaf_trees < self.n_trees))), "a tree does not exist")
        _require(self.no_code_up_to in (TRUNCATED, NOT_NEGATIVE), "the rule of fractional codes is unknown")
        if self.inputs == "float32":
            with np.errstate(over="ignore"):
                _require(
                    bool(np.all(self.threshold.astype(np.float32) == self.threshold)),
                    "a threshold is not a float32 number",
                )
        self._check_precisions()

    def _check_precisions(self) -> None:
        if self.float32_outputs is not None:
            _require(self.float32_outputs.shape == (self.n_outputs,), "precisions and outputs do not match")
            _require(
                self.rounding == "float64" and self.linear is None,
                "only forests of float64 without linear leaves have precisions by output",
            )
        in_float32 = np.repeat(np.array(self.sums_in_float32)[self.tree_output], np.diff(self.tree_offsets))
        with np.errstate(over="ignore"):
            singles = self.value[in_float32]
            _require(bool(np.all(singles.astype(np.float32) == singles)), "a leaf value is not a float32 number")

    def _check_linear_leaves(self, is_leaf: Bool) -> None:
        if self.linear is not None:
            fault = self.linear.faults(is_leaf, self.n_features)
            _require(fault is None, str(fault))
            is_float64 = self.rounding == self.inputs == "float64"
            _require(is_float64 and self.tables is None, "only forests of float64 without tables have linear leaves")


def floor32(thresholds: F64) -> F64:
    """Return the greatest float32 at or below each threshold t, which every float32 x is at most if and only if `x <= t`."""
    with np.errstate(over="ignore"):
        nearest = np.asarray(thresholds, np.float64).astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest).astype(np.float64)


def below32(thresholds: F64) -> F64:
    """Return the greatest float32 below each threshold t, which every float32 x but -inf is at most if and only if `x < t`."""
    floor = floor32(thresholds)
    lower = np.nextafter(floor.astype(np.float32), np.float32(-np.inf)).astype(np.float64)
    return np.where(floor == thresholds, lower, floor)


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise ModelUnreadableError(f"the model's trees are not sound: {reason}")
