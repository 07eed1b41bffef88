"""The reliability scoreboard: each row prints a figure and its bar, and has a planted fault that it must detect.

A row is a module in `rows/` with a ROW. `measure(planted)` runs it against the installed server; with `planted` something is wrong
on purpose, and the row must detect it. Where tests exist that need no more than their full length, a row names them. `brief` is the same with small numbers, and bars that a busy machine can meet, for the tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A figure and its limit."""

    what: str
    figure: float
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the figure is within the limit."""
        return self.figure >= self.limit if self.at_least else self.figure <= self.limit

    def __str__(self) -> str:
        return f"{self.what} {self.figure:.4g} ({'>=' if self.at_least else '<='} {self.limit:g})"


@dataclass(frozen=True)
class Finding:
    """The result of a row as text with numbers, and whether it is within its bar."""

    figure: str
    holds: bool

    @classmethod
    def of(cls, *bars: Bar) -> Finding:
        """Combine several figures into one finding."""
        return cls("; ".join(map(str, bars)), all(bar.holds for bar in bars))


@dataclass(frozen=True)
class Row:
    """A row of the scoreboard."""

    number: int
    test: str
    bar: str
    fault: str
    """The fault of `measure(planted=True)`."""
    measure: Callable[[bool], Finding]
    brief: Callable[[bool], Finding] | None = None
    tests: tuple[str, ...] = ()
    """The tests that measure the row, if it is not measured here (`row_of_tests.py`)."""


def report_line(row: Row, finding: Finding, *, planted: bool) -> str:
    """Return the line of a finding."""
    if planted:
        verdict = "caught" if not finding.holds else "NOT CAUGHT"
        return f"     planted: {row.fault} | {finding.figure} | {verdict}"
    return f"{row.number:3}  {row.test} | bar: {row.bar} | {finding.figure} | {'ok' if finding.holds else 'MISSED'}"


def report_progress(text: str) -> None:
    """Print what a row of several minutes does, or has found so far, to standard error."""
    print(f"     … {text}", file=sys.stderr, flush=True)
