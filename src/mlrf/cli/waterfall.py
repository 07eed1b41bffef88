"""One row's contributions as a table for a terminal: the base, a bar per feature, the margin."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
from rich.table import Table
from rich.text import Text

from mlrf.cli.terminal_text import harmless
from mlrf.core.feature import Value

_LOWERS, _RAISES = "blue", "red"
_FULL, _LEFT_HALF, _RIGHT_HALF = "█", "▌", "▐"
_AXIS = "│"
_MAX_HALF_WIDTH = 24
_MIN_HALF_WIDTH = 6
_OTHER_COLUMNS = 64
"""Columns of a line for names, values and numbers; bars get the rest."""
_MAX_NAME_CHARS = 32
_MAX_VALUE_CHARS = 20


@dataclass(frozen=True, slots=True)
class RowContributions:
    """Contributions to one output of one row: `base` plus the contributions, in schema order, is the margin."""

    base: float
    contributions: Sequence[float]
    margin: float
    prediction: float
    link: str
    values: Mapping[str, Value]
    """Values of the row by name, in schema order."""


def waterfall(row: RowContributions, top: int, width: int) -> Table:
    """Return a table, `width` columns wide, of the `top` largest contributions, descending, and the sum of the others."""
    names = list(row.values)
    phis = row.contributions
    shown = heapq.nlargest(top, range(len(phis)), key=lambda f: abs(phis[f]))
    rest = [phi for f, phi in enumerate(phis) if f not in set(shown)]
    lines = [(names[f], _value_text(row.values[names[f]]), phis[f]) for f in shown]
    if rest:
        plural = "" if len(rest) == 1 else "s"
        lines.append((f"{len(rest)} other feature{plural}", "", sum(rest)))
    half = max(_MIN_HALF_WIDTH, min(_MAX_HALF_WIDTH, (width - _OTHER_COLUMNS) // 2))
    largest = max(abs(phi) for _, _, phi in lines)
    table = Table(box=None, pad_edge=False, show_header=False)
    for justify in ("left", "left", "left", "right"):
        table.add_column(justify=justify, no_wrap=True, overflow="ellipsis")
    table.add_row("base", "", "", f"{row.base:.6g}")
    for name, value, phi in lines:
        table.add_row(Text(_cut(name, _MAX_NAME_CHARS)), Text(value), _bar(phi, largest, half), f"{phi:+.6g}")
    table.add_row("margin", "", "", Text(f"{row.margin:.6g}", style="bold"))
    through = "" if row.link == "identity" else f"through {row.link}"
    table.add_row("prediction", through, "", Text(f"{row.prediction:.6g}", style="bold"))
    return table


def _value_text(value: Value) -> str:
    text = "missing" if value is None else f"{value:.6g}" if isinstance(value, float) else ""
    return _cut("= " + (text or msgspec.json.encode(value).decode()), _MAX_VALUE_CHARS)


def _cut(text: str, limit: int) -> str:
    plain = harmless(text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def _bar(phi: float, largest: float, half: int) -> Text:
    """Return a bar from the axis whose length is the contribution's share of the largest."""
    halves = round(2 * half * abs(phi) / largest) if largest > 0 else 0
    whole, part = divmod(halves, 2)
    if phi < 0:
        drawn = (_RIGHT_HALF if part else "") + _FULL * whole
        return Text.assemble((drawn.rjust(half), _LOWERS), _AXIS, " " * half)
    drawn = _FULL * whole + (_LEFT_HALF if part else "")
    return Text.assemble(" " * half, _AXIS, (drawn.ljust(half), _RAISES))
