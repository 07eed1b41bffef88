"""One row's contributions as a table for a terminal: the base, a bar per feature, the margin."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from mlrf.model.drawing.contributions import MAX_NAME_CHARS, RowContributions, largest_bars, shortened

_LOWERS, _RAISES = "blue", "red"
_FULL, _LEFT_HALF, _RIGHT_HALF = "█", "▌", "▐"
_AXIS = "│"
_MAX_HALF_WIDTH = 24
_MIN_HALF_WIDTH = 6
_OTHER_COLUMNS = 64
"""Columns of a line for names, values and numbers; bars use the remaining columns."""


def waterfall(row: RowContributions, top: int, width: int) -> Table:
    """Return a table, `width` columns wide, of the `top` largest contributions, descending, and the sum of the others."""
    bars = largest_bars(row, top)
    half = max(_MIN_HALF_WIDTH, min(_MAX_HALF_WIDTH, (width - _OTHER_COLUMNS) // 2))
    largest = max(abs(bar.contribution) for bar in bars)
    table = Table(box=None, pad_edge=False, show_header=False)
    for justify in ("left", "left", "left", "right"):
        table.add_column(justify=justify, no_wrap=True, overflow="ellipsis")
    table.add_row("base", "", "", f"{row.base:.6g}")
    for bar in bars:
        value = f"= {bar.value}" if bar.value else ""
        drawn = _bar(bar.contribution, largest, half)
        table.add_row(Text(shortened(bar.name, MAX_NAME_CHARS)), Text(value), drawn, f"{bar.contribution:+.6g}")
    table.add_row("margin", "", "", Text(f"{row.margin:.6g}", style="bold"))
    if row.prediction is not None:
        through = "" if row.link == "identity" else f"through {row.link}"
        table.add_row("prediction", through, "", Text(f"{row.prediction:.6g}", style="bold"))
    return table


def _bar(phi: float, largest: float, half: int) -> Text:
    """Return a bar from the axis whose length is the contribution's share of the largest."""
    halves = round(2 * half * abs(phi) / largest) if largest > 0 else 0
    whole, part = divmod(halves, 2)
    if phi < 0:
        drawn = (_RIGHT_HALF if part else "") + _FULL * whole
        return Text.assemble((drawn.rjust(half), _LOWERS), _AXIS, " " * half)
    drawn = _FULL * whole + (_LEFT_HALF if part else "")
    return Text.assemble(" " * half, _AXIS, (drawn.ljust(half), _RAISES))
