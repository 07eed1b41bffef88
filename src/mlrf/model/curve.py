"""Exact response curves: a model's answers for a row while one or two of its features take every value.

1. Trees compare values with thresholds, so the margin is constant between neighbouring cut points. One value of each interval
   is scored; nothing is sampled.
2. Each listed category, false, true, and missing are separate points.
3. All points of a curve, or all pairs of points of two features, are scored in one call of the engine.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from mlrf.core.errors import (
    BatchTooLargeError,
    InvalidRequestError,
    NonFiniteResultError,
    NoThresholdsError,
    UnknownFeatureError,
)
from mlrf.core.feature import Feature, Kind, Value, canonical_value
from mlrf.core.leniency import LISTS_FEATURES, STRICT, Leniency
from mlrf.core.value_text import clip, shown_name
from mlrf.engines.interface import PiecewiseConstant, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mlrf.model.drawing.curves import DrawnCurve
    from mlrf.model.row_predictor import Prediction, RowPredictor

MOST_POINTS = 100_000
"""Most points of a curve or a grid."""
MOST_VALUES = 1 << 22
"""Most values scored for a curve: points times features, 32 MiB."""
MOST_FEATURES = 2
_INT64 = float(1 << 63)


class Axis(msgspec.Struct, frozen=True):
    """The points of one feature."""

    feature: str
    kind: Kind
    cuts: list[float] | None
    """Where the model's answer may change, ascending: point i represents all x with cuts[i - 1] < x <= cuts[i], the last point
    all x above the last cut. None if each point is a single value (listed categories, booleans)."""
    values: list[Value]
    """[points] The value that was scored for each point, as in an instance; if the feature may be missing, the last is None."""
    at: int
    """Index of the row's own point."""


class Curve(msgspec.Struct, frozen=True):
    """A model's answers at each point of one axis, or each pair of points of two axes, of which the last varies fastest."""

    axes: tuple[Axis, ...]
    margins: list[Any]
    """[n] Raw margins; lists of K for a model with several outputs."""
    predictions: list[Prediction]
    """[n] Predictions, as `RowPredictor.predict_row` returns them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of points of each axis; n is their product."""
        return tuple(len(axis.values) for axis in self.axes)

    def to_svg(self, *, output: int | None = None) -> str:
        """Return the curve of one feature, or the map of two, as an SVG element.

        `output` chooses one of the K outputs of a model of several (the row's greatest). InvalidRequestError when there is no
        such output, BatchTooLargeError for a map of too many cells.
        """
        from mlrf.model.drawing.curves import curve_svg  # noqa: PLC0415  a server draws nothing

        return curve_svg(self._drawn(), output)

    def plot(self, *, output: int | None = None, ax: Axes | None = None) -> Axes:
        """Draw the same with matplotlib and return its axes; ConfigError when matplotlib is not installed."""
        from mlrf.model.drawing.curves import plot_curve  # noqa: PLC0415

        return plot_curve(self._drawn(), output, ax)

    def _repr_html_(self) -> str:
        """Return the drawing, or a sentence for a map of too many cells."""
        from mlrf.model.drawing.curves import curve_html  # noqa: PLC0415

        return curve_html(self._drawn())

    def _drawn(self) -> DrawnCurve:
        from mlrf.model.drawing.curves import DrawnCurve  # noqa: PLC0415
        from mlrf.model.drawing.step_chart import Steps  # noqa: PLC0415

        steps = [Steps(axis.feature, axis.cuts, axis.values, axis.at) for axis in self.axes]
        return DrawnCurve(steps, self.predictions)


class Sweep(msgspec.Struct, frozen=True):
    """The rows of a curve, before they are scored."""

    row: Row
    axes: tuple[Axis, ...]
    columns: tuple[tuple[int, array[float]], ...]
    """Index in the schema and values of each varied feature."""

    @property
    def n_points(self) -> int:
        """The number of points."""
        return math.prod(len(axis.values) for axis in self.axes)

    def table(self) -> array[float]:
        """Return the rows as one buffer [n, F], missing as NaN."""
        width, n = len(self.row), self.n_points
        rows = array("d", [math.nan if x is None else x for x in self.row]) * n
        repeated = n
        for index, numbers in self.columns:
            repeated //= len(numbers)
            once = numbers if repeated == 1 else array("d", [x for x in numbers for _ in range(repeated)])
            rows[index::width] = once * (n // len(once))
        return rows


def plan_sweep(model: RowPredictor, row: Row, names: Sequence[str], leniency: Leniency = STRICT) -> Sweep:
    """Return the sweep of a row over one or two features, given by name.

    NoThresholdsError for a model that is not a tree ensemble or whose engine does not know its thresholds, UnknownFeatureError,
    InvalidRequestError for another number of names, BatchTooLargeError for more points than MOST_POINTS or values than
    MOST_VALUES.
    """
    engine = _piecewise_constant(model)
    axes: list[Axis] = []
    columns: list[tuple[int, array[float]]] = []
    for index in _indices(model, names, leniency):
        x = row[index]
        axis, numbers = _axis(engine, model.schema.features[index], index, math.nan if x is None else float(x))
        axes.append(axis)
        columns.append((index, numbers))
    sweep = Sweep(row, tuple(axes), tuple(columns))
    most = min(MOST_POINTS, MOST_VALUES // len(model.schema.features))
    if sweep.n_points > most:
        each = " x ".join(str(len(axis.values)) for axis in axes)
        raise BatchTooLargeError(
            f"{' and '.join(shown_name(axis.feature) for axis in axes)} have {each} points, more than the {most} that one "
            "curve of this model may have; vary one feature, or one with fewer thresholds",
            points=sweep.n_points,
            max_points=most,
        )
    return sweep


def score_sweep(model: RowPredictor, sweep: Sweep) -> Curve:
    """Return the curve of a sweep; NonFiniteResultError names a point without a finite prediction. Any thread may call it."""
    margins = model.engine.margins(sweep.table())
    try:
        predictions = model.predictions(margins)
    except NonFiniteResultError as error:
        raise _not_finite(sweep, error) from error
    k = model.engine.n_outputs
    listed: list[Any] = margins.tolist()
    if k > 1:
        listed = [listed[start : start + k] for start in range(0, len(listed), k)]
    return Curve(sweep.axes, listed, predictions)


def _piecewise_constant(model: RowPredictor) -> PiecewiseConstant:
    if model.bundle.manifest.graph is None and isinstance(model.engine, PiecewiseConstant):
        return model.engine
    if model.bundle.manifest.graph is not None:
        raise NoThresholdsError(
            f"{model.name} is a graph of operators and has no thresholds to draw an exact curve by; predict rows that differ "
            "in the feature instead"
        )
    combination = model.bundle.manifest.combination
    if combination is not None and combination.row_coefficients:
        raise NoThresholdsError(
            f"{model.name} adds multiples of the row's own numbers (a stack with passthrough=True), so its answer changes "
            "between its thresholds too and no list of points is exact; predict rows that differ in the feature instead"
        )
    if (facts := model.bundle.manifest.facts) is not None and facts.linear_leaves:
        raise NoThresholdsError(
            f"{model.name} has linear leaves (linear_tree), so its answer changes between its thresholds too and no list of "
            "points is exact; predict rows that differ in the feature instead"
        )
    raise NoThresholdsError(
        f"the engine {model.engine.name!r} does not know the thresholds of its trees; use the trees engine",
        engine=model.engine.name,
    )


def _indices(model: RowPredictor, names: Sequence[str], leniency: Leniency) -> list[int]:
    if not 1 <= len(names) <= MOST_FEATURES or len(set(names)) != len(names):
        raise InvalidRequestError("a curve varies one feature, or two different ones", field="vary")
    known = {name: index for index, name in enumerate(model.schema.names)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UnknownFeatureError(
            f"a curve cannot vary {shown_name(unknown[0])}, which is not a feature of {model.name}; "
            f"{LISTS_FEATURES[leniency.caller]} lists the features",
            feature=clip(unknown[0]),
            unknown=[clip(name) for name in unknown],
        )
    return [known[name] for name in names]


def _axis(engine: PiecewiseConstant, feature: Feature, index: int, x: float) -> tuple[Axis, array[float]]:
    cuts: list[float] | None = None
    if feature.kind is Kind.BOOLEAN:
        numbers = array("d", (0.0, 1.0))
    elif feature.categories is not None:
        numbers = array("d", range(len(feature.categories)))
        if feature.hashing is not None and x >= len(numbers):
            # A category that is in no list has no name to be sent by: only the row's own is a point.
            numbers.append(x)
    else:
        cuts = engine.cuts(index).tolist()
        if feature.kind is not Kind.NUMERIC:
            cuts = sorted({float(math.floor(cut)) for cut in cuts})
        numbers = _one_of_each(cuts, x, is_whole=feature.kind is not Kind.NUMERIC)
    is_missing = math.isnan(x)
    if feature.nullable or is_missing:
        numbers.append(math.nan)
    if is_missing:
        at = len(numbers) - 1
    elif cuts is not None:
        at = bisect_left(cuts, x)
    else:
        at = numbers.index(x)
    return Axis(feature.name, feature.kind, cuts, [_value(feature, each) for each in numbers], at), numbers


def _value(feature: Feature, x: float) -> Value:
    # JSON readers do not accept integers with more digits.
    return x if feature.kind is not Kind.NUMERIC and abs(x) >= _INT64 else canonical_value(feature, x)


def _one_of_each(cuts: list[float], x: float, *, is_whole: bool) -> array[float]:
    """Return one number in each interval: its upper end, and for the last interval the next number above the last cut."""
    if not cuts:
        return array("d", [0.0 if math.isnan(x) else x])
    above = math.nextafter(cuts[-1], math.inf)
    return array("d", [*cuts, max(cuts[-1] + 1.0, above) if is_whole else above])


def _not_finite(sweep: Sweep, error: NonFiniteResultError) -> NonFiniteResultError:
    rest = int(error.details["index"])
    values: dict[str, Value] = {}
    for axis in reversed(sweep.axes):
        rest, point = divmod(rest, len(axis.values))
        values[axis.feature] = axis.values[point]
    shown = " and ".join(f"{shown_name(name)} at {value!r}" for name, value in reversed(values.items()))
    return NonFiniteResultError(f"with {shown}, the model's answer is not a finite number", features=values)
