"""Rules for the numbers in a table's columns; a whole table is checked in one pass before it reaches an engine.

They must agree with `core/value_rules.py`, which names the other readers of values.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import astuple

from mlrf import _kernel
from mlrf.core.category_hash import HASHED_CODE
from mlrf.core.feature import Feature, Kind


class ColumnRule(msgspec.Struct, frozen=True):
    """Admits numbers from `least` to `most`, only whole ones if `whole`, and NaN, a missing value, only if `may_miss`."""

    least: float = -sys.float_info.max
    most: float = sys.float_info.max
    whole: bool = False
    may_miss: bool = True

    def admits(self, x: float) -> bool:
        """Whether the column may contain a number."""
        if math.isnan(x):
            return self.may_miss
        return self.least <= x <= self.most and not (self.whole and x != math.trunc(x))


_ADMITS_ALL = ColumnRule(-math.inf, math.inf)


class ColumnRules:
    """The rules of a table's columns."""

    def __init__(self, rules: Iterable[ColumnRule]) -> None:
        self.rules = tuple(rules)
        self.packed = array("d", [float(number) for rule in self.rules for number in astuple(rule)])
        """The rules as the kernel takes them: 4 numbers each."""
        self._admit_all = all(rule == _ADMITS_ALL for rule in self.rules)

    def first_outside(self, rows: Any) -> int | None:
        """Return the index of the first of n x F float64, in a buffer, that breaks its column's rule; None if none does.

        The GIL is released, so any thread may call it. Measured: 0.8 to 1.6 ns a value; a loop in Python takes 150.
        """
        return None if self._admit_all else _kernel.first_outside(rows, self.packed)


def rule_of(feature: Feature) -> ColumnRule:
    """Return the rule for the column of a feature."""
    may_miss = feature.nullable
    match feature.kind:
        case Kind.NUMERIC:
            least, most = feature.infinities.range
            return ColumnRule(max(least, feature.least), min(most, feature.most), may_miss=may_miss)
        case Kind.INTEGER:
            least, most = feature.infinities.range
            default = ColumnRule()
            least, most = max(least, default.least, feature.least), min(most, default.most, feature.most)
            return ColumnRule(least, most, whole=True, may_miss=may_miss)
        case Kind.BOOLEAN:
            return ColumnRule(0.0, 1.0, whole=True, may_miss=may_miss)
        case Kind.CATEGORICAL if feature.categories is not None:
            return ColumnRule(0.0, len(feature.categories) - 1.0, whole=True, may_miss=may_miss)
    return ColumnRule(whole=True, may_miss=may_miss)


def whole_columns(features: Iterable[Feature], *, by_code: bool) -> _kernel.WholeColumns | None:
    """Return the check of the columns of a row that must hold whole numbers; None if there are no such columns.

    With `by_code` these include the codes of listed categories.
    """
    rules = [
        (index, rule_of(feature))
        for index, feature in enumerate(features)
        if feature.kind is not Kind.NUMERIC and (by_code or feature.categories is None)
    ]
    return _kernel.WholeColumns([(index, rule.least, rule.most) for index, rule in rules]) if rules else None


def rule_by_value(feature: Feature) -> ColumnRule:
    """Return the rule for a feature whose categories were given by value: it also admits codes of unlisted categories."""
    if feature.hashing is None:
        return rule_of(feature)
    return ColumnRule(0.0, 2 * HASHED_CODE - 1.0, whole=True, may_miss=feature.nullable)
