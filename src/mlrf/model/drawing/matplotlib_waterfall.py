"""Draws a waterfall chart on matplotlib axes, with the same bars as the SVG."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from mlrf.model.drawing.contributions import MAX_NAME_CHARS, Bar, RowContributions, largest_bars, shortened
from mlrf.model.drawing.matplotlib_axes import new_axes, plain
from mlrf.model.drawing.waterfall import LOWERS, RAISES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES_WIDE, _INCHES_A_LINE = 8.0, 0.36


def draw_waterfall(row: RowContributions, top: int, title: str, axes: Axes | None = None) -> Axes:
    """Draw the `top` largest contributions and the sum of the others, and return the axes, by default of a new figure.

    ConfigError when matplotlib is not installed.
    """
    bars = largest_bars(row, top)
    if axes is None:
        axes = new_axes(_INCHES_WIDE, _INCHES_A_LINE * (len(bars) + 3))
    sums = list(accumulate((bar.contribution for bar in bars), initial=row.base))
    lines = range(len(bars))
    colours = [RAISES if bar.contribution >= 0 else LOWERS for bar in bars]
    drawn = axes.barh(lines, [bar.contribution for bar in bars], left=sums[:-1], color=colours)
    axes.bar_label(drawn, [f"{bar.contribution:+.6g}" for bar in bars], padding=3)
    axes.axvline(row.base, linestyle=":", color="grey")
    axes.axvline(row.margin, color="grey")
    axes.set_yticks(lines, [_label(bar) for bar in bars])
    axes.invert_yaxis()
    axes.set_xlabel(f"margin: from {row.base:.6g} (base) to {row.margin:.6g}")
    axes.set_title(plain(title))
    axes.margins(x=0.15)
    return axes


def _label(bar: Bar) -> str:
    return plain(shortened(bar.name, MAX_NAME_CHARS) + (f" = {bar.value}" if bar.value else ""))
