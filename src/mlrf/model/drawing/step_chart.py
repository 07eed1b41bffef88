"""Response curves as SVG: the steps of one feature, and a map of two."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from mlrf.core.feature import Value
from mlrf.model.drawing.contributions import MAX_NAME_CHARS, shortened, value_text
from mlrf.model.drawing.markup import Markup, element, svg_element

CURVE, OWN = "#2f6fb7", "#c8323c"
"""Colours of a curve and of the row's own point, readable on light and on dark."""
MOST_CELLS = 20_000
"""Most cells of a map that is drawn."""

_WIDTH, _HEIGHT = 480, 220
_LEFT, _TOP, _BOTTOM, _RIGHT = 78, 12, 40, 12
_NUMBERS, _MISSING = 0.86, 0.9
"""If there is a point for missing, intervals end at the first of these shares of the width, and it begins at the second."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The points of one feature, as of `mlrf.model.curve.Axis`."""

    feature: str
    cuts: Sequence[float] | None
    values: Sequence[Value]
    at: int

    @property
    def has_missing(self) -> bool:
        """Whether the last point stands for a missing value."""
        return self.values[-1] is None

    @property
    def n_intervals(self) -> int:
        """The number of points that are intervals between cuts, which come first."""
        return 0 if self.cuts is None else len(self.cuts) + 1

    def extents(self) -> list[tuple[float, float]]:
        """Return where each point begins and ends, as shares of the width."""
        n = len(self.values)
        if self.cuts is None:
            return [(i / n, (i + 1) / n) for i in range(n)]
        end = _NUMBERS if self.has_missing else 1.0
        scale = _scale(self.cuts, 0.06 * end, 0.94 * end)
        edges = [0.0, *map(scale, self.cuts), end]
        found = list(pairwise(edges))
        return [*found, (_MISSING, 1.0)] if self.has_missing else found


def steps_svg(steps: Steps, answers: Sequence[float], title: str) -> Markup:
    """Return an SVG element: the answer at each point of one feature, as steps, with the row's own point marked."""
    low, high = min(answers), max(answers)
    y = _scale([low, high], _HEIGHT - _BOTTOM, _TOP)
    lines = []
    for (start, end), value, answer in zip(steps.extents(), steps.values, answers, strict=True):
        name = element("title", f"{value_text(value)}: {answer:.6g}")
        left, right = _across(start), _across(end)
        lines.append(
            element(
                "line",
                name,
                x1=left,
                x2=right,
                y1=y(answer),
                y2=y(answer),
                stroke=CURVE,
                stroke_width="2.5",
                class_="step",
            )
        )
    where = steps.extents()
    for i in range(1, steps.n_intervals):
        at = _across(where[i][0])
        lines.append(element("line", x1=at, x2=at, y1=y(answers[i - 1]), y2=y(answers[i]), stroke=CURVE))
    start, end = where[steps.at]
    lines.append(element("circle", cx=_across((start + end) / 2), cy=y(answers[steps.at]), r="5", fill=OWN))
    marks = [_mark(f"{answer:.6g}", _LEFT - 6, y(answer) + 4, "end") for answer in sorted({low, high})]
    return _frame(title, *lines, *marks, *_ends(steps))


def grid_svg(up: Steps, across: Steps, answers: Sequence[float], title: str) -> Markup:
    """Return an SVG element: a cell for each pair of points, blue for the least answer and orange for the greatest.

    `answers` are ordered by `up`, with `across` varying fastest. Neighbours with the same answer form one rectangle.
    """
    width, low, high = len(across.values), min(answers), max(answers)
    share = _scale([low, high], 0.0, 1.0)
    columns, cells = across.extents(), []
    tall = (_HEIGHT - _BOTTOM - _TOP) / len(up.values)
    for row in range(len(up.values)):
        top = _HEIGHT - _BOTTOM - tall * (row + 1)
        line = answers[row * width : (row + 1) * width]
        at = 0
        for answer, group in groupby(line):
            end = at + len(list(group))
            left, right = _across(columns[at][0]), _across(columns[end - 1][1])
            fill = _colour(share(answer) if high > low else 0.5)
            cells.append(
                element(
                    "rect",
                    element("title", f"{answer:.6g}"),
                    x=left,
                    y=top,
                    width=right - left,
                    height=tall,
                    fill=fill,
                    shape_rendering="crispEdges",
                )
            )
            at = end
    key = f"from {low:.6g} (blue) to {high:.6g} (orange); {shortened(up.feature, MAX_NAME_CHARS)} goes up"
    return _frame(title, *cells, *_ends(across), _mark(key, _LEFT, _TOP - 3.0, "start"))


def _scale(numbers: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    """Return the linear function that maps the least number to `start` and the greatest to `end`."""
    if not numbers:
        return lambda _x: (start + end) / 2
    # Halves cannot overflow where the difference of two numbers could.
    low, span = min(numbers) / 2, max(numbers) / 2 - min(numbers) / 2
    return lambda x: (start + end) / 2 if span == 0 else start + (end - start) * ((x / 2 - low) / span)


def _across(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _mark(text: str, x: float, y: float, anchor: str) -> Markup:
    return element("text", text, x=x, y=y, text_anchor=anchor, font_size="11")


def _ends(steps: Steps) -> list[Markup]:
    """Return the name of the feature below, and the first and last cut, where they are, or the first and last value."""
    y, where = float(_HEIGHT - _BOTTOM + 15), steps.extents()
    if steps.cuts is None:
        marks = [_mark(value_text(steps.values[0]), _LEFT, y, "start")]
        marks.append(_mark(value_text(steps.values[-1]), _across(1.0), y, "end"))
    else:
        ends = sorted({0, len(steps.cuts) - 1}) if steps.cuts else []
        marks = [_mark(f"{steps.cuts[i]:.6g}", _across(where[i][1]), y, "middle") for i in ends]
        if steps.has_missing:
            marks.append(_mark("missing", _across(1.0), y + 12, "end"))
    middle = _across(0.5)
    return [*marks, element("text", shortened(steps.feature, MAX_NAME_CHARS), x=middle, y=y + 12, text_anchor="middle")]


def _colour(share: float) -> str:
    middle = 1 - math.fabs(2 * share - 1)
    return "#" + "".join(f"{round(part):02x}" for part in (40 + 200 * share, 70 + 110 * middle, 220 - 180 * share))


def _frame(title: str, *children: Markup) -> Markup:
    return svg_element(title, _WIDTH, _HEIGHT, *children)
