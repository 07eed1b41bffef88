"""Selects the bars of a drawing: the largest contributions of one row, with their values as text, and the sum of the others."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from mlrf.core.feature import Value
from mlrf.core.value_text import plural, printable

MAX_NAME_CHARS = 32
MAX_VALUE_CHARS = 20


@dataclass(frozen=True, slots=True)
class RowContributions:
    """Contributions to one output of one row: `base` plus the contributions, in schema order, is the margin."""

    base: float
    contributions: Sequence[float]
    margin: float
    values: Mapping[str, Value]
    """Values of the row by name, in schema order."""
    prediction: float | None = None
    """The prediction, if it is to be shown; otherwise None."""
    link: str = "identity"


@dataclass(frozen=True, slots=True)
class Bar:
    """A contribution to show: of one feature, or of all features without a bar together."""

    name: str
    value: str
    """The feature's value as JSON, cut to a bounded length; empty for a sum of features."""
    contribution: float


def largest_bars(row: RowContributions, top: int) -> list[Bar]:
    """Return the `top` largest contributions by magnitude, descending, and last the sum of the others."""
    names, phis = list(row.values), row.contributions
    chosen = heapq.nlargest(top, range(len(phis)), key=lambda f: abs(phis[f]))
    bars = [Bar(names[f], value_text(row.values[names[f]]), phis[f]) for f in chosen]
    kept = set(chosen)
    rest = [phi for f, phi in enumerate(phis) if f not in kept]
    if rest:
        bars.append(Bar(f"{len(rest)} other {plural('feature', len(rest))}", "", sum(rest)))
    return bars


def value_text(value: Value) -> str:
    """Return a feature's value as JSON on one line, floats with six digits, cut to a bounded length."""
    if value is None:
        return "missing"
    text = f"{value:.6g}" if isinstance(value, float) else msgspec.json.encode(value).decode()
    return shortened(text, MAX_VALUE_CHARS)


def shortened(text: str, limit: int) -> str:
    """Return a text on one line, without control characters, of at most `limit` characters."""
    plain = printable(text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"
