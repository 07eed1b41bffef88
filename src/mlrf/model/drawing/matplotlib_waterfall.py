"""A waterfall chart on matplotlib axes: the same bars as of the SVG."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from mlrf.core.errors import ConfigError
from mlrf.model.drawing.contributions import MAX_NAME_CHARS, Bar, RowContributions, cut, largest_bars
from mlrf.model.drawing.waterfall import LOWERS, RAISES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES_WIDE, _INCHES_A_LINE = 8.0, 0.36


def draw_waterfall(row: RowContributions, top: int, title: str, axes: Axes | None = None) -> Axes:
    """Draw the `top` largest contributions and the sum of the others; a new figure's axes unless some are given.

    ConfigError when matplotlib is not installed.
    """
    bars = largest_bars(row, top)
    if axes is None:
        axes = _new_axes(len(bars))
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
    axes.set_title(_plain(title))
    axes.margins(x=0.15)
    return axes


def _new_axes(n_bars: int) -> Axes:
    try:
        from matplotlib import pyplot as plt  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError("matplotlib is not installed; pip install matplotlib, or use to_svg()") from error
    _, axes = plt.subplots(figsize=(_INCHES_WIDE, _INCHES_A_LINE * (n_bars + 3)), layout="constrained")
    return axes


def _label(bar: Bar) -> str:
    return _plain(cut(bar.name, MAX_NAME_CHARS) + (f" = {bar.value}" if bar.value else ""))


def _plain(text: str) -> str:
    # Between dollar signs matplotlib reads mathematics.
    return text.replace("$", r"\$")
