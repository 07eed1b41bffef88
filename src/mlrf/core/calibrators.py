"""Calibrators: functions from one number to a probability, a logistic curve or a line through points, as scikit-learn's."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence

from mlrf.core.float32_links import float32_line
from mlrf.core.link import Link
from mlrf.core.manifest import CalibratorEntry

Calibrator = Callable[[float], float]


def calibrator_of(entry: CalibratorEntry, *, is_float32: bool) -> Calibrator:
    """Return the function that an entry describes; of float32 numbers it computes a line in float32, as SciPy does."""
    if not entry.x:
        slope, intercept = entry.slope, entry.intercept
        sigmoid = Link("sigmoid").scalar()
        return lambda x: sigmoid(-(slope * x + intercept))
    if len(entry.x) == 1:
        return lambda _: entry.y[0]
    on_line = _on_float32_line if is_float32 else _on_line
    first, last = entry.x[0], entry.x[-1]
    return lambda x: on_line(min(max(x, first), last), entry.x, entry.y)


def _on_float32_line(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    right = min(max(bisect_left(xs, x), 1), len(xs) - 1)
    return float32_line(x, (xs[right - 1], ys[right - 1]), (xs[right], ys[right]))


def _on_line(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Return y at x on the line through points, with the operations of NumPy's `interp`."""
    right = min(max(bisect_right(xs, x), 1), len(xs) - 1)
    low, high = xs[right - 1], xs[right]
    if x == high:
        return ys[right]
    slope = (ys[right] - ys[right - 1]) / (high - low)
    return slope * (x - low) + ys[right - 1]
