"""Drawings of a response curve: which of its numbers are drawn, and how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlrf.core.errors import BatchTooLargeError, InvalidRequestError
from mlrf.core.value_text import shown_name
from mlrf.model.drawing.markup import element
from mlrf.model.drawing.step_chart import MOST_CELLS, Steps, grid_svg, steps_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class DrawnCurve:
    """The points of one or two features, and the n predictions at them, as of `mlrf.model.curve.Curve`."""

    axes: Sequence[Steps]
    predictions: Sequence[Any]


def curve_svg(curve: DrawnCurve, output: int | None) -> str:
    """Return the steps of one feature, or the map of two, as SVG; errors as of `Curve.to_svg`."""
    axes, answers = curve.axes, _answers(curve, output)
    if len(axes) == 1:
        return steps_svg(axes[0], answers, _title(curve))
    if len(answers) > MOST_CELLS:
        raise BatchTooLargeError(
            f"a map of {len(answers)} cells is too large to draw as SVG (at most {MOST_CELLS}); use plot()"
        )
    return grid_svg(axes[0], axes[1], answers, _title(curve))


def plot_curve(curve: DrawnCurve, output: int | None, axes: Axes | None) -> Axes:
    """Draw the same on matplotlib axes; errors as of `Curve.plot`."""
    from mlrf.model.drawing.matplotlib_steps import draw_grid, draw_steps  # noqa: PLC0415  matplotlib is optional

    steps, answers = curve.axes, _answers(curve, output)
    if len(steps) == 1:
        return draw_steps(steps[0], answers, axes)
    return draw_grid(steps[0], steps[1], answers, axes)


def curve_html(curve: DrawnCurve) -> str:
    """Return the drawing as HTML, or a sentence for a map of too many cells."""
    if len(curve.predictions) > MOST_CELLS and len(curve.axes) > 1:
        return element("p", f"{_title(curve)}: {len(curve.predictions)} cells, too many to show; use plot()")
    return element("div", element("p", _title(curve)), element("div", curve_svg(curve, None)))


def _title(curve: DrawnCurve) -> str:
    names = [shown_name(axis.feature) for axis in curve.axes]
    return f"prediction as {names[0]} changes" if len(names) == 1 else f"prediction as {' and '.join(names)} change"


def _answers(curve: DrawnCurve, output: int | None) -> list[float]:
    """Return one number for each point: the prediction, or its part for one output."""
    answers = [each if isinstance(each, list) else [each] for each in curve.predictions]
    n = len(answers[0])
    if output is None:
        own = answers[_own(curve)]
        output = max(range(n), key=own.__getitem__)
    if not 0 <= output < n:
        raise InvalidRequestError(f"output {output}: the model has {n} outputs, numbered from 0")
    return [each[output] for each in answers]


def _own(curve: DrawnCurve) -> int:
    """Return the index of the row's own point."""
    index = 0
    for axis in curve.axes:
        index = index * len(axis.values) + axis.at
    return index
