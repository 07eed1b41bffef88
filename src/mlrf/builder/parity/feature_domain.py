"""The values of one feature that reach a node: narrowed at each split above it, exactly by the IR's rules.

A numeric feature's numbers outside the zero band, those inside it, and NaN are narrowed separately, because Missing.ZERO treats
them differently. Intervals are (low, high]: left of `x <= t` is (low, min(high, t)], right is (max(low, t), high].
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from mlrf.core.forest import ZERO_BAND, Missing, Precision

_BELOW_BAND = math.nextafter(-ZERO_BAND, -math.inf)


def next_number(x: float, toward: float, inputs: Precision) -> float:
    """Return the neighbour of x in the precision of the library's inputs; finite if x is."""
    if inputs == "float64":
        return math.nextafter(x, toward)
    with np.errstate(over="ignore"):
        neighbour = float(np.nextafter(np.float32(x), np.float32(toward)))
    return x if math.isinf(neighbour) else neighbour


@dataclass(frozen=True, slots=True)
class Numbers:
    """The possible values of a numeric feature; -inf is left out, because no split separates it.

    If the model rounds its inputs to float32, all of them are float32 numbers.
    """

    low: float = -math.inf
    high: float = math.inf
    band_low: float = _BELOW_BAND
    band_high: float = ZERO_BAND
    nan: bool = True
    inputs: Precision = "float64"

    def holds(self, x: float) -> bool:
        """Whether x is possible."""
        if math.isnan(x):
            return self.nan
        if self.inputs == "float32" and not math.isinf(x):
            with np.errstate(over="ignore"):
                if float(np.float32(x)) != x:
                    return False
        if abs(x) <= ZERO_BAND:
            return self.band_low < x <= self.band_high
        return self.low < x <= self.high

    def split(self, threshold: float, missing: int, *, default_left: bool, left: bool) -> Numbers:
        """Return the possible values on one side of a node."""
        to_default = default_left == left
        nan = self.nan and ((threshold >= 0.0) == left if missing == Missing.NONE else to_default)
        low, high = _cut(self.low, self.high, threshold, left=left)
        if missing == Missing.ZERO:
            if to_default:
                return replace(self, low=low, high=high, nan=nan)
            return replace(self, low=low, high=high, band_low=0.0, band_high=0.0, nan=nan)
        band_low, band_high = _cut(self.band_low, self.band_high, threshold, left=left)
        return Numbers(low, high, band_low, band_high, nan, self.inputs)

    def pick(self, preferred: float) -> float | None:
        """Return a possible value, `preferred` if it is one; None if there is none."""
        if self.holds(preferred):
            return preferred
        above_low = next_number(self.low, math.inf, self.inputs) if self.low > -math.inf else 1.0
        band = tuple(next_number(side * ZERO_BAND, side * math.inf, self.inputs) for side in (1.0, -1.0))
        for x in (self.high, above_low, *band, 0.0, self.band_high, math.nan):
            if self.holds(x) and not math.isinf(x):
                return x
        return self.high if self.holds(self.high) else None


@dataclass(frozen=True, slots=True)
class Codes:
    """The possible values of a categorical feature: codes, one code in no set, and NaN."""

    codes: frozenset[float]
    nan: bool = True

    def holds(self, x: float) -> bool:
        """Whether x is possible."""
        return self.nan if math.isnan(x) else x in self.codes

    def split(self, chosen: frozenset[float], *, default_left: bool, left: bool) -> Codes:
        """Return the possible values on one side of a node whose set is `chosen`."""
        codes = self.codes & chosen if left else self.codes - chosen
        return Codes(codes, self.nan and default_left == left)

    def pick(self, preferred: float) -> float | None:
        """Return a possible value, `preferred` if it is one; None if there is none."""
        if self.holds(preferred):
            return preferred
        if self.codes:
            return min(self.codes)
        return math.nan if self.nan else None


def _cut(low: float, high: float, threshold: float, *, left: bool) -> tuple[float, float]:
    return (low, min(high, threshold)) if left else (max(low, threshold), high)
