"""Compares a response curve with value-by-value predictions."""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np

from bundles import rows_of
from mlrf.core.feature import Kind
from mlrf.model import Model
from mlrf.model.curve import plan_sweep

MOST_TRIED = 400
"""Intervals of a curve that are tried at both ends."""


def assert_curve_is_exact(model: Model, row: list[float], name: str) -> None:
    """Every interval equals `Model.engine.margin` bit for bit, at both of its ends and in between."""
    index = model.schema.names.index(name)
    curve = model.curve(row, name)
    (axis,) = curve.axes
    numbers = plan_sweep(model, row, [name]).columns[0][1]
    assert curve.shape == (len(curve.margins),) == (len(curve.predictions),) == (len(numbers),)

    def ask(x: float) -> list[float]:
        return model.engine.margin([*row[:index], x, *row[index + 1 :]])

    n_intervals = 0 if axis.cuts is None else len(axis.cuts) + 1
    for point in np.unique(np.linspace(0, len(numbers) - 1, MOST_TRIED).astype(int)).tolist():
        expected = listed(curve.margins[point])
        is_whole = axis.kind is not Kind.NUMERIC
        for x in ends(axis.cuts, point, is_whole=is_whole) if point < n_intervals else [numbers[point]]:
            assert ask(x) == expected, (name, point, x)
    for x in anywhere(index, axis.kind) if axis.cuts is not None else []:
        assert ask(x) == listed(curve.margins[bisect_left(axis.cuts, x)]), (name, x)
    assert listed(curve.margins[axis.at]) == model.engine.margin(row)
    assert curve.predictions == rows_of(model).predictions([m for each in curve.margins for m in listed(each)])


def anywhere(seed: int, kind: Kind) -> list[float]:
    """Numbers that are not near a known cut point."""
    tried = np.random.default_rng(seed).normal(scale=[[1.0], [30.0]], size=(2, 60)).ravel()
    return (tried if kind is Kind.NUMERIC else np.floor(tried)).tolist()


def assert_grid_is_exact(model: Model, row: list[float], names: tuple[str, str]) -> None:
    """Every pair of points equals the prediction of the row with both values."""
    curve = model.curve(row, names)
    (first, xs), (second, ys) = plan_sweep(model, row, names).columns
    rows = np.tile(np.array(row), (len(xs) * len(ys), 1))
    rows[:, first] = np.repeat(xs, len(ys))
    rows[:, second] = np.tile(ys, len(xs))
    assert curve.shape == (len(xs), len(ys))
    assert [m for each in curve.margins for m in listed(each)] == model.engine.margins(rows).tolist()


def listed(margin: float | list[float]) -> list[float]:
    """The margins of a point, also of a single output."""
    return margin if isinstance(margin, list) else [margin]


def ends(cuts: list[float], point: int, *, is_whole: bool) -> list[float]:
    """The first and last number of an interval, and one in between."""
    if not cuts:
        return [-1e9, 0.0, 1e9]
    if point == 0:
        last = cuts[0]
        return [last, last - 1.0, last - 1e6]
    low = cuts[point - 1]
    first = max(low + 1.0, math.nextafter(low, math.inf)) if is_whole else math.nextafter(low, math.inf)
    if point == len(cuts):
        return [first, first + 1.0, first + 1e6]
    middle = low + (cuts[point] - low) / 2
    middle = math.floor(middle) if is_whole else middle
    return [first, cuts[point], *([middle] if first <= middle <= cuts[point] else [])]
