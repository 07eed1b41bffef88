"""Response curves on matplotlib axes: the same steps, and the same map, as of the SVG."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from mlrf.model.drawing.contributions import MAX_NAME_CHARS, shortened, value_text
from mlrf.model.drawing.matplotlib_axes import new_axes, plain
from mlrf.model.drawing.step_chart import CURVE, OWN, Steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES_WIDE, _INCHES_TALL = 6.4, 3.6
_PAD = 0.06


def draw_steps(steps: Steps, answers: Sequence[float], axes: Axes | None = None) -> Axes:
    """Draw the answer at each point of one feature; a new figure's axes unless some are given."""
    axes = new_axes(_INCHES_WIDE, _INCHES_TALL) if axes is None else axes
    edges, labels = _edges(steps)
    for i, answer in enumerate(answers):
        axes.hlines(answer, edges[i][0], edges[i][1], colors=CURVE)
    for i in range(1, steps.n_intervals):
        axes.vlines(edges[i][0], min(answers[i - 1 : i + 1]), max(answers[i - 1 : i + 1]), colors=CURVE)
    start, end = edges[steps.at]
    axes.plot([(start + end) / 2], [answers[steps.at]], "o", color=OWN)
    if labels:
        axes.set_xticks([x for x, _ in labels], [text for _, text in labels])
    axes.set_xlabel(plain(shortened(steps.feature, MAX_NAME_CHARS)))
    axes.set_ylabel("prediction")
    return axes


def draw_grid(up: Steps, across: Steps, answers: Sequence[float], axes: Axes | None = None) -> Axes:
    """Draw a cell for each pair of points of two features; a new figure's axes unless some are given."""
    axes = new_axes(_INCHES_WIDE, _INCHES_TALL) if axes is None else axes
    width = len(across.values)
    rows = [list(answers[start : start + width]) for start in range(0, len(answers), width)]
    image = axes.imshow(rows, aspect="auto", origin="lower", interpolation="nearest")
    axes.figure.colorbar(image, ax=axes, label="prediction")
    for steps, name, ticks in ((across, axes.set_xlabel, axes.set_xticks), (up, axes.set_ylabel, axes.set_yticks)):
        name(plain(shortened(steps.feature, MAX_NAME_CHARS)))
        shown = sorted({0, steps.at, len(steps.values) - 1})
        ticks(shown, [plain(value_text(steps.values[i])) for i in shown])
    return axes


def _edges(steps: Steps) -> tuple[list[tuple[float, float]], list[tuple[float, str]]]:
    """Return where each point begins and ends in the feature's own unit, and ticks where these are not numbers."""
    if steps.cuts is None:
        found = [(i - 0.4, i + 0.4) for i in range(len(steps.values))]
        return found, [(i, plain(value_text(value))) for i, value in enumerate(steps.values)]
    low, high = (steps.cuts[0], steps.cuts[-1]) if steps.cuts else (0.0, 1.0)
    # Halves cannot overflow where the difference of two numbers could.
    pad = 2 * (_PAD * (high / 2 - low / 2)) or 0.5
    edges = [low - pad, *steps.cuts, high + pad]
    intervals = list(pairwise(edges))
    if not steps.has_missing:
        return intervals, []
    start = edges[-1] + pad / 2
    shown = sorted({low, high})
    return [*intervals, (start, start + pad)], [*((x, f"{x:.6g}") for x in shown), (start + pad / 2, "missing")]
