"""Finds out, for each feature, what the training library does with infinities, by predicting rows that contain them.

An infinity of a feature is served, as a number or as missing, only if the library answered every row with one and each engine
that may serve gives the same answers. Otherwise it is refused: if the library refuses it, if an engine's answer differs, or if
the feature was not tried because the library had refused too many rows already.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from mlrf.core.feature import Feature, Kind
from mlrf.core.forest import F64, I64, Bool
from mlrf.core.infinities import Infinities, OnInfinity
from mlrf.core.schema import Schema

_MAX_VALUES = 2_000_000
MAX_BACKGROUNDS = 6
_BEYOND_FLOAT32 = 1e39
Agreement = Callable[[F64], Bool]
"""Whether the engines answer each of the rows [n, F] as the library answered the row of infinities in its place [n]."""


@dataclass(frozen=True, slots=True, eq=False)
class InfinityRows:
    """Rows with infinities, each in the columns of one group of features."""

    rows: F64
    """[n, F]"""
    column: I64
    """[n] The first column of the group."""
    value: F64
    """[n] The value of its columns."""
    group: int
    """Columns of a group: one, unless the model is so wide that a row for each would be too many."""

    @property
    def missing(self) -> F64:
        """The rows, with missing values in place of the infinities."""
        rows = self.rows.copy()
        for row, column in enumerate(self.column.tolist()):
            part = rows[row, column : column + self.group]
            part[part == self.value[row]] = math.nan
        return rows


def infinity_rows(features: Sequence[Feature], backgrounds: F64, *, is_single: bool) -> InfinityRows:
    """Return rows that alter some backgrounds [m, F]; with `is_single`, numbers beyond float32 are asked too."""
    values = [math.inf, -math.inf, *([_BEYOND_FLOAT32, -_BEYOND_FLOAT32] if is_single else [])]
    n_features = len(features)
    count = max(1, min(len(backgrounds), MAX_BACKGROUNDS, _MAX_VALUES // (len(values) * n_features**2)))
    group = max(1, math.ceil(len(values) * n_features**2 / _MAX_VALUES))
    takes = np.array([feature.kind in (Kind.NUMERIC, Kind.INTEGER) for feature in features])
    firsts = [first for first in range(0, n_features, group) if takes[first : first + group].any()]
    # Rows of one column are adjacent, so that few calls separate the columns that a library refuses from the others.
    probed = [(first, value) for first in firsts for value in values for _ in range(count)]
    rows = np.tile(backgrounds[:count], (len(values) * len(firsts), 1))
    for row, (first, value) in zip(rows, probed, strict=True):
        row[first : first + group][takes[first : first + group]] = value
    return InfinityRows(
        rows, np.array([first for first, _ in probed], np.int64), np.array([value for _, value in probed]), group
    )


def with_infinities(
    schema: Schema, probed: InfinityRows, answered: Bool, agrees: Agreement, *, is_single: bool
) -> Schema:
    """Return the schema with what the library does with each feature's infinities.

    `answered` [n]: whether the library predicted the row rather than refusing it.
    """
    none = np.zeros(len(answered), np.bool_)
    as_number = answered & agrees(probed.rows) if np.any(answered) else none
    as_missing = answered & agrees(probed.missing) if np.any(answered & ~as_number) else none
    features = list(schema.features)
    for first in dict.fromkeys(probed.column.tolist()):
        of_group = probed.column == first

        def outcome(value: float, of_group: Bool = of_group) -> OnInfinity:
            rows = of_group & (probed.value == value)
            if np.all(as_number[rows]):
                return OnInfinity.NUMBER
            return OnInfinity.MISSING if np.all(as_missing[rows]) else OnInfinity.REFUSED

        for column in range(first, min(len(features), first + probed.group)):
            if features[column].kind in (Kind.NUMERIC, Kind.INTEGER):
                features[column] = msgspec.structs.replace(
                    features[column], infinities=_infinities(outcome, is_single=is_single)
                )
    return Schema(tuple(features))


def _infinities(outcome: Callable[[float], OnInfinity], *, is_single: bool) -> Infinities:
    positive, negative = outcome(math.inf), outcome(-math.inf)
    if is_single:
        # Numbers that float32 rounds to infinity count as infinite only if the library treats both in the same way.
        positive = positive if outcome(_BEYOND_FLOAT32) is positive else OnInfinity.REFUSED
        negative = negative if outcome(-_BEYOND_FLOAT32) is negative else OnInfinity.REFUSED
    return Infinities(positive, negative, is_single)
