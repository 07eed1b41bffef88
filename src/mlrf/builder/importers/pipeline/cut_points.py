"""Cut points: the greatest raw number whose transformed value is at most a limit.

Found by bisection over the float64 numbers in their order, with the steps' own arithmetic, for all limits of all columns at
once. Scalers are monotone in theory; that they are so to the last bit is checked for 64 numbers on each side of every cut
point. A function such as a logarithm is not, and differs between processors: its cut points have a band around them, between
those of the shifted steps, in which a number may be on either side.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlrf.builder.importers.pipeline.float_order import numbers_at, ordinals
from mlrf.builder.importers.pipeline.matrix import Preprocessing
from mlrf.builder.importers.pipeline.number_ranges import NumberRange
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64, I64, Bool
from mlrf.core.infinities import LARGEST_FLOAT32

_TRIED_LIMITS = (1e37, 1e18, 1e9)
"""Beyond the first, a model that rounds to float32 may refuse a row; no raw number is beyond the last."""
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_FAR = 1e308
"""Beyond every number that a model splits at."""
_CHECKED_ULPS = 64
_COMPARED_AT_ONCE = 1 << 16
"""Comparisons in one call of the steps."""
_PROBES = 15
"""Numbers that divide an interval at a time: a call of the steps costs more than its rows."""


@dataclass(frozen=True, slots=True, order=True)
class Limit:
    """A limit of one column of the matrix, and the raw feature behind it."""

    feature: int
    column: int
    limit: float
    """NaN if it is whether the value is missing."""
    in_float32: bool
    """Whether the model rounds the value to float32 before it compares."""


@dataclass(frozen=True, slots=True, eq=False)
class _Limits:
    """Limits as arrays, [m] each."""

    feature: I64
    column: I64
    limit: F64
    in_float32: Bool
    least: F64
    """The least number of the feature for which the column is not missing."""
    most: F64


class CutPoints:
    """Finds cut points of the raw features of a pipeline."""

    def __init__(
        self,
        preprocessing: Preprocessing,
        background: F64,
        names: Sequence[str],
        numbers: Sequence[int],
        *,
        partial: Mapping[int, NumberRange] | None = None,
        inexact: Collection[int] = (),
    ) -> None:
        """Take a raw row [F] that the steps accept, the features' names for messages, and which of them are numbers.

        `partial` has the ranges of features for some of whose numbers a step has no result; the `inexact` columns are those
        that processors compute differently.
        """
        self._partial = dict(partial or {})
        self._inexact = frozenset(inexact)
        self.bands: dict[Limit, tuple[float, float]] = {}
        """By limit of an inexact column: numbers up to the first satisfy it, and those beyond the second do not."""
        self._preprocessing = preprocessing
        self._background = background
        self._names = names
        self.largest: dict[int, float] = {}
        """The largest number, with either sign, that the steps accept for each such feature."""
        waiting = [feature for feature in numbers if feature not in self._partial]
        for tried in _TRIED_LIMITS:
            taken = waiting if self._take(waiting, tried) else [f for f in waiting if self._take([f], tried)]
            self.largest.update(dict.fromkeys(taken, tried))
            waiting = [feature for feature in waiting if feature not in self.largest]
        self.largest.update(dict.fromkeys(waiting, _TRIED_LIMITS[-1]))
        self._starts: dict[tuple[int, int], float] = {}
        """By feature and column that is missing for small numbers: the least number for which it is not."""

    def range_of(self, feature: int) -> NumberRange:
        """Return the numbers of a feature that are tried."""
        return self._partial.get(feature) or NumberRange(-self.largest[feature], self.largest[feature])

    def find_missing(self, columns: Sequence[tuple[int, int]]) -> dict[Limit, float]:
        """Return the greatest number for which each column is missing, by features and columns that may be.

        They must be known before the other cut points are searched. ValueError where a step refuses a number in between.
        """
        found = self.find([Limit(feature, column, np.nan, in_float32=False) for feature, column in columns])
        found = {limit: cut for limit, cut in found.items() if np.isfinite(cut)}
        for limit, cut in found.items():
            self._starts[limit.feature, limit.column] = float(np.nextafter(cut, np.inf))
        return found

    def find(self, limits: Sequence[Limit]) -> dict[Limit, float]:
        """Return the cut point of each limit: -inf where every number is beyond it, inf where none is.

        UnsupportedModelError names a column whose steps are not monotone around one.
        """
        if not limits:
            return {}
        table = _Limits(
            np.array([limit.feature for limit in limits], np.int64),
            np.array([limit.column for limit in limits], np.int64),
            np.array([limit.limit for limit in limits]),
            np.array([limit.in_float32 for limit in limits]),
            np.array([self._least(limit) for limit in limits]),
            np.array([self.range_of(limit.feature).most for limit in limits]),
        )
        cuts = self._search(self._preprocessing, table)
        self._check_far(table, cuts == -np.inf, cuts == np.inf)
        lows, highs = cuts.copy(), cuts.copy()
        inexact = np.flatnonzero(np.isin(table.column, list(self._inexact)))
        if len(inexact):
            part = _Limits(*(getattr(table, name)[inexact] for name in _Limits.__slots__))
            for bound, direction in ((lows, 1), (highs, -1)):
                bound[inexact] = self._search(self._preprocessing.shifted(direction), part)
            lows, highs = np.minimum(lows, cuts), np.maximum(highs, cuts)
            self.bands.update({limits[at]: (float(lows[at]), float(highs[at])) for at in inexact.tolist()})
        self._check(table, lows, highs)
        return dict(zip(limits, cuts.tolist(), strict=True))

    def within_float32(self, columns: Sequence[tuple[int, int]]) -> dict[int, tuple[float, float]]:
        """Return, by feature, the numbers of float32's range for which its columns are in that range, if some are not.

        `columns` are features and columns of the matrix; of features for some of whose numbers a step has no result the range
        is known already.
        """
        pairs = [(feature, column) for feature, column in columns if feature not in self._partial]
        examined = sorted({feature for feature, _ in pairs})
        refused = (
            []
            if self._take(examined, LARGEST_FLOAT32)
            else [f for f in examined if not self._take([f], LARGEST_FLOAT32)]
        )
        found = {feature: (-self.largest[feature], self.largest[feature]) for feature in refused}
        pairs = [(feature, column) for feature, column in pairs if feature not in found]
        if not pairs:
            return found
        n = len(pairs)
        bounds = np.repeat([math.nextafter(-LARGEST_FLOAT32, -math.inf), LARGEST_FLOAT32], n)
        features, of_matrix = (np.tile(np.array(part, np.int64), 2) for part in zip(*pairs, strict=True))
        reach = np.full(2 * n, LARGEST_FLOAT32)
        cuts = self._search(self._preprocessing, _Limits(features, of_matrix, bounds, reach < 0.0, -reach, reach))
        for (feature, _), below, most in zip(pairs, cuts[:n].tolist(), cuts[n:].tolist(), strict=True):
            least = -math.inf if below == -math.inf else math.nextafter(below, math.inf)
            if math.isfinite(least) or math.isfinite(most):
                before = found.get(feature, (-math.inf, math.inf))
                found[feature] = (max(least, before[0]), min(most, before[1]))
        return found

    def takes_all_numbers(self) -> bool:
        """Return whether the steps accept the greatest numbers of every feature."""
        return self._take([feature for feature in self.largest if feature not in self._partial], sys.float_info.max)

    def _least(self, limit: Limit) -> float:
        return self._starts.get((limit.feature, limit.column), self.range_of(limit.feature).least)

    def _search(self, steps: Preprocessing, table: _Limits) -> F64:
        """Return the cut point of each limit behind these steps."""
        every = np.arange(len(table.limit))
        low, high = ordinals(table.least), ordinals(table.most)
        below_all = ~self._satisfies(steps, table, every, table.least)
        above_all = self._satisfies(steps, table, every, table.most)
        self._narrow(steps, table, low, high, np.flatnonzero(~below_all & ~above_all))
        return np.where(below_all, -np.inf, np.where(above_all, np.inf, numbers_at(low)))

    def rows(self, features: I64, numbers: F64) -> tuple[F64, I64]:
        """Return rows with the numbers [m] of the features [m] and the background elsewhere, and the row of each number."""
        order = np.argsort(features, kind="stable")
        sorted_features = features[order]
        starts = np.flatnonzero(np.diff(sorted_features, prepend=-1))
        row_indices = np.empty(len(features), np.int64)
        sizes = np.diff([*starts, len(features)])
        row_indices[order] = np.arange(len(features)) - np.repeat(starts, sizes)
        rows = np.repeat(self._background[None], int(np.max(sizes)), axis=0)
        rows[row_indices, features] = numbers
        return rows, row_indices

    def _take(self, features: Sequence[int], number: float) -> bool:
        rows = np.repeat(self._background[None], 2 * len(features), axis=0)
        rows[np.arange(len(rows)), np.repeat(features, 2).astype(np.int64)] = np.tile([number, -number], len(features))
        return not len(rows) or self._preprocessing.answers(rows)

    def _narrow(self, steps: Preprocessing, table: _Limits, low: I64, high: I64, waiting: I64) -> None:
        """Move `low`, which satisfies each limit, and `high`, which does not, towards each other until they are adjacent."""
        while len(waiting):
            probes = max(1, min(_PROBES, _COMPARED_AT_ONCE // len(waiting)))
            # Modulo 2^64, where the distance between any two is exact.
            start = low[waiting].view(np.uint64)
            span = high[waiting].view(np.uint64) - start
            step = np.maximum(span // np.uint64(probes + 1), np.uint64(1))
            offsets = np.minimum(
                step[:, None] * np.arange(1, probes + 1, dtype=np.uint64), span[:, None] - np.uint64(1)
            )
            tried = (start[:, None] + offsets).view(np.int64)
            holds = self._satisfies(steps, table, np.repeat(waiting, probes), numbers_at(tried.reshape(-1)))
            n_satisfied = np.count_nonzero(holds.reshape(tried.shape), axis=1)
            bounds = np.column_stack([low[waiting], tried, high[waiting]])
            each = np.arange(len(waiting))
            low[waiting], high[waiting] = bounds[each, n_satisfied], bounds[each, n_satisfied + 1]
            waiting = waiting[high[waiting].view(np.uint64) - low[waiting].view(np.uint64) > 1]

    def _satisfies(self, steps: Preprocessing, table: _Limits, some: I64, numbers: F64) -> Bool:
        """Return whether the numbers [m] satisfy the limits that `some` [m] names."""
        rows, row_indices = self.rows(table.feature[some], numbers)
        found = np.empty(len(some))
        for part in steps.chunks(len(rows)):
            values = steps.matrix(rows[part]).values
            here = np.flatnonzero((row_indices >= part.start) & (row_indices < part.stop))
            found[here] = values[row_indices[here] - part.start, table.column[some[here]]]
        with np.errstate(over="ignore"):
            rounded = found.astype(np.float32).astype(np.float64)
        limit = table.limit[some]
        kept: Bool = np.where(
            np.isnan(limit), np.isnan(found), np.where(table.in_float32[some], rounded, found) <= limit
        )
        return kept

    def _check_far(self, table: _Limits, below_all: Bool, above_all: Bool) -> None:
        """Refuse limits that only numbers beyond the largest tried one reach: such rows would take the wrong side.

        CatBoost splits missing values from numbers at the least float32: the feature's range then ends at the largest tried
        one.
        """
        reached = np.maximum(-table.least, table.most) == _TRIED_LIMITS[0]
        for feature in sorted(set(table.feature[reached].tolist())):
            some = np.flatnonzero(table.feature == feature)
            low, high = self._far(feature, -_FAR), self._far(feature, _FAR)
            # Where a step overflows, a value may be NaN, which compares as false.
            crossed = (below_all[some] & (low[table.column[some]] <= table.limit[some])) | (
                above_all[some] & (high[table.column[some]] > table.limit[some])
            )
            at_missing = table.in_float32[some] & (np.abs(table.limit[some]) == _LARGEST_FLOAT32)
            if np.any(crossed & at_missing):
                most = _TRIED_LIMITS[0]
                self._partial[feature] = NumberRange(-most, most, is_bounded_below=True, is_bounded_above=True)
            if np.any(crossed & ~at_missing):
                name = self._names[feature]
                raise UnsupportedModelError(
                    f"the model splits {name!r} at numbers beyond {_TRIED_LIMITS[0]:g}, which mlrf does not fold; divide the "
                    "column by a constant before the pipeline, and train it again",
                    feature=name,
                )

    def _far(self, feature: int, number: float) -> F64:
        """Return the matrix's row for a far number of a feature; NaN if the steps refuse it."""
        rows = self._background[None].copy()
        rows[:, feature] = number
        if not self._preprocessing.answers(rows):
            return np.full(self._preprocessing.n_columns, np.nan)
        values: F64 = self._preprocessing.matrix(rows).values[0]
        return values

    def _check(self, table: _Limits, lows: F64, highs: F64) -> None:
        """Check the numbers next to each cut point, or to the band around it."""
        found = np.flatnonzero(np.isfinite(lows) & np.isfinite(highs))
        steps = np.arange(1 - _CHECKED_ULPS, 1 + _CHECKED_ULPS)
        at_once = max(1, _COMPARED_AT_ONCE // max(1, len(found)))
        for start in range(0, len(steps) if len(found) else 0, at_once):
            some = np.repeat(found, len(steps[start : start + at_once]))
            step = np.tile(steps[start : start + at_once], len(found))
            numbers = numbers_at(ordinals(np.where(step <= 0, lows[some], highs[some])) + step)
            numbers = np.clip(numbers, table.least[some], table.most[some])
            wrong = self._satisfies(self._preprocessing, table, some, numbers) != (step <= 0)
            wrong &= (numbers > table.least[some]) & (numbers < table.most[some])
            if np.any(wrong):
                worst = int(np.argmax(wrong))
                name = self._names[int(table.feature[some[worst]])]
                raise UnsupportedModelError(
                    f"the pipeline's steps are not monotone in the last bits of {name!r} (around {float(numbers[worst])!r}), "
                    "so they cannot be folded into thresholds; scale it with StandardScaler or MinMaxScaler, or build "
                    "from the model alone and apply the steps before sending rows",
                    feature=name,
                )


def neighbours(numbers: F64) -> F64:
    """Return the numbers around each of `numbers`, 64 to each side and itself."""
    steps = np.arange(-_CHECKED_ULPS, _CHECKED_ULPS + 1)
    return numbers_at((ordinals(numbers)[:, None] + steps).reshape(-1))
