"""The answer of a split for every value of the raw column behind it.

A split of a category is the set of the codes that go left. A split of a number is a row of intervals, each up to and including
its end, that go left and right in turn: two of them for scaled numbers, more if a bin or a placeholder is between numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlrf.builder.covers import goes_left
from mlrf.builder.importers.imported_model import Band
from mlrf.core.feature import Feature
from mlrf.core.forest import F64, I64, LEAF, NOT_NEGATIVE, NUMERIC, TRUNCATED, ZERO_BAND, Forest, Missing


@dataclass(frozen=True, slots=True)
class CategorySplit:
    """The codes that go to one side; every other code goes to the other."""

    codes: tuple[int, ...]
    codes_go_left: bool
    missing_goes_left: bool


@dataclass(frozen=True, slots=True)
class NumberSplit:
    """Intervals of numbers that go left and right in turn."""

    ends: tuple[float, ...]
    """The greatest number of each interval; the last one's is inf."""
    first_goes_left: bool
    missing_goes_left: bool

    def goes_left(self, interval: int) -> bool:
        """Whether an interval's numbers go left."""
        return self.first_goes_left == (interval % 2 == 0)


RawSplit = CategorySplit | NumberSplit


def distinct_splits(forest: Forest) -> tuple[I64, I64]:
    """Return one node for each distinct split of a feature [S], and the split of each node [N], -1 at all other nodes."""
    inner = np.flatnonzero((forest.feature != LEAF) & (forest.feature < forest.n_features))
    table = np.column_stack(
        [
            forest.feature[inner].astype(np.float64),
            forest.threshold[inner] + 0.0,  # -0.0 and 0.0 are one threshold
            forest.missing[inner].astype(np.float64),
            forest.default_left[inner].astype(np.float64),
            forest.category_set[inner].astype(np.float64),
        ]
    )
    split_of = np.full(forest.n_nodes, -1, np.int64)
    if not len(inner):
        return inner, split_of
    _, first, number = np.unique(table, axis=0, return_index=True, return_inverse=True)
    split_of[inner] = number.reshape(-1)
    return inner[first], split_of


def sides(forest: Forest, node: int, seen: F64) -> list[bool]:
    """Return which of the model's input values [n] a node sends left."""
    with np.errstate(over="ignore"):
        values = seen.astype(forest.inputs).astype(np.float64)
    return [bool(side) for side in goes_left(forest, node, values)]


def category_split(known: Sequence[bool], *, unknown: bool, missing: bool) -> CategorySplit:
    """Return the split that sends the known codes, every unknown one and missing values to these sides, left where true."""
    return CategorySplit(tuple(code for code, side in enumerate(known) if side != unknown), not unknown, missing)


def number_split(ends: Sequence[float], at_ends: Sequence[bool], *, missing: bool) -> NumberSplit:
    """Return the split of intervals with ascending ends, whose ends go left where true; equal neighbours become one."""
    kept: list[float] = []
    for index, end in enumerate(ends):
        if index + 1 == len(ends) or at_ends[index] != at_ends[index + 1]:
            kept.append(end)
    kept[-1] = float("inf")
    return NumberSplit(tuple(kept), at_ends[0], missing)


def limits_of(forest: Forest, node: int) -> list[float]:
    """Return the values of a monotone column beyond which a node's result may change."""
    if forest.category_set[node] != NUMERIC:
        codes = forest.category_codes(int(forest.category_set[node])).tolist()
        limits = {limit for code in codes for limit in (_below(code), _below(code + 1))}
        return sorted(limits | ({TRUNCATED, NOT_NEGATIVE} if 0 in codes else set()))
    limits = {float(forest.threshold[node])}
    if forest.missing[node] == Missing.ZERO:
        limits |= {float(np.nextafter(-ZERO_BAND, -np.inf)), ZERO_BAND}
    return sorted(limits)


def _below(value: float) -> float:
    return float(np.nextafter(float(value), -np.inf))


@dataclass(frozen=True, slots=True, eq=False)
class FoundSplits:
    """The distinct splits of a model over its raw features."""

    splits: list[RawSplit]
    split_of: I64
    """[N] the split of each node, -1 at leaves."""
    features: I64
    """[S] the raw feature of each split."""
    raw_features: tuple[Feature, ...]
    known_codes_only: tuple[int, ...]
    """Features whose encoders refuse a category that they do not list."""
    edge_values: Mapping[int, tuple[float, ...]]
    """By feature: values that the golden rows must contain."""
    largest_number: float
    """The largest number of a raw row that all steps accept."""
    refuses_beyond_float32: bool
    """Whether the steps or the model refuse a number beyond float32."""
    bands: Mapping[int, tuple[Band, ...]]
    """By feature: the bands around its thresholds in which processors may differ."""
