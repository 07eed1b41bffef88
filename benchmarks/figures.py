"""The results of a run: figures, the bars that they must meet, and the table of both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Bar:
    """A bar: at least, or at most, a number."""

    limit: float
    at_least: bool

    def holds(self, value: float) -> bool:
        """Whether a figure meets the bar."""
        return value >= self.limit if self.at_least else value <= self.limit


def at_least(limit: float) -> Bar:
    """Return a lower bound."""
    return Bar(limit, at_least=True)


def at_most(limit: float) -> Bar:
    """Return an upper bound."""
    return Bar(limit, at_least=False)


@dataclass(frozen=True)
class Figure:
    """The median of one measure over the rounds of a run. `rounds` are the values of the rounds."""

    what: str
    rounds: Sequence[float]
    unit: str
    bars: Sequence[Bar] = ()
    details: dict[str, Any] = field(default_factory=dict)
    """Other observations, for the JSON only."""

    @property
    def value(self) -> float:
        """The median."""
        return median(self.rounds)

    def line(self) -> str:
        """Return one line of the table."""
        marks = [f"{'>=' if b.at_least else '<='} {shown(b.limit)} {_mark(b.holds(self.value))}" for b in self.bars]
        spread = f"{shown(min(self.rounds))} to {shown(max(self.rounds))}" if len(self.rounds) > 1 else ""
        return f"{self.what:<58} {shown(self.value):>9} {self.unit:<10} {spread:>20}  {', '.join(marks)}".rstrip()

    def as_json(self) -> dict[str, Any]:
        """Return everything, as plain values."""
        bars = [{"at_least" if b.at_least else "at_most": b.limit, "holds": b.holds(self.value)} for b in self.bars]
        shape = {"what": self.what, "value": self.value, "unit": self.unit, "rounds": list(self.rounds), "bars": bars}
        return shape | ({"details": self.details} if self.details else {})


def heading() -> str:
    """Return the first line of the table."""
    return f"{'':<58} {'median':>9} {'':<10} {'over rounds':>20}  bar"


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Divide round by round, because other load on the machine affects both parts of a round."""
    return [mine / other for mine, other in zip(numerators, denominators, strict=True)]


def shown(value: float) -> str:
    """Format a number with three significant digits, or as an integer."""
    if not math.isfinite(value):
        return str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _mark(holds: bool) -> str:
    return "yes" if holds else "NO"
