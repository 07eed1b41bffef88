"""A waterfall chart as SVG: from the base, a bar per feature, to the margin of one row."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

from mlrf.model.drawing.contributions import MAX_NAME_CHARS, Bar, RowContributions, largest_bars, shortened
from mlrf.model.drawing.markup import Markup, element, svg_element

RAISES, LOWERS = "#c8323c", "#2f6fb7"
"""Colours of contributions that raise and lower the margin, readable on light and on dark."""

_WIDTH, _LINE, _BAR = 760, 24, 16
_LABELS, _NUMBERS = 300, 90
"""Widths in pixels of the names and values on the left, and of the numbers on the right."""


def waterfall_svg(row: RowContributions, top: int = 10, title: str = "contributions to the margin") -> Markup:
    """Return an SVG element: the `top` largest contributions, descending, the sum of the others, and their running sum."""
    bars = largest_bars(row, top)
    sums = list(accumulate((bar.contribution for bar in bars), initial=row.base))
    x = _scale([*sums, row.margin])
    height = _LINE * (len(bars) + 2 + (row.prediction is not None)) + 8
    lines = [_sum_line("base", row.base, x(row.base), 0)]
    lines += [_bar(bar, i + 1, x(sums[i]), x(sums[i + 1])) for i, bar in enumerate(bars)]
    lines.append(_sum_line("margin", row.margin, x(row.margin), len(bars) + 1))
    if row.prediction is not None:
        name = "prediction" if row.link == "identity" else f"prediction, through {row.link}"
        lines.append(element("g", *_labels(name, f"{row.prediction:.6g}", len(bars) + 2), font_weight="bold"))
    return svg_element(title, _WIDTH, height, *lines)


def _scale(values: list[float]) -> Callable[[float], float]:
    """Return the function from a margin to its horizontal position in pixels."""
    # Halves, because the difference of two numbers could overflow.
    low, high = min(values) / 2, max(values) / 2
    span = (high - low) or 1.0
    width = _WIDTH - _LABELS - _NUMBERS
    return lambda value: _LABELS + width * ((value / 2 - low) / span)


def _sum_line(name: str, value: float, at: float, line: int) -> Markup:
    """Return the line of the base or the margin, with a mark at its position."""
    top = float(_LINE * line + 4)
    mark = element("line", x1=at, x2=at, y1=top, y2=top + _BAR, stroke="currentColor", stroke_width="3")
    return element("g", mark, *_labels(name, f"{value:.6g}", line), font_weight="bold")


def _bar(bar: Bar, line: int, start: float, end: float) -> Markup:
    top, raises = float(_LINE * line + 4), bar.contribution >= 0
    number = f"{bar.contribution:+.6g}"
    label = shortened(bar.name, MAX_NAME_CHARS) + (f" = {bar.value}" if bar.value else "")
    drawn = element(
        "rect",
        x=min(start, end),
        y=top,
        width=max(abs(end - start), 1.0),
        height=_BAR,
        fill=RAISES if raises else LOWERS,
        class_="raises" if raises else "lowers",
    )
    # A thin line connects the bar with the end of the bar above.
    link = element(
        "line", x1=start, x2=start, y1=top - (_LINE - _BAR), y2=top, stroke="currentColor", stroke_opacity="0.4"
    )
    whole = f"{bar.name} = {bar.value}: {number}" if bar.value else f"{bar.name}: {number}"
    return element("g", element("title", whole), link, drawn, *_labels(label, number, line))


def _labels(name: str, number: str, line: int) -> list[Markup]:
    y = float(_LINE * line + 4 + _BAR - 3)
    return [
        element("text", name, x=_LABELS - 8, y=y, text_anchor="end"),
        element("text", number, x=_WIDTH - 4, y=y, text_anchor="end"),
    ]
