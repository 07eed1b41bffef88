"""Cut points: the greatest raw number whose transformed value is at most a limit.

Found by bisection over the float64 numbers in their order, with the steps' own arithmetic, for all limits of all columns at
once. Scalers are monotone in theory; that they are so to the last bit is checked for 64 numbers on each side of every cut
point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlrf.builder.importers.pipeline.matrix import Preprocessing
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64, I64, Bool

_TRIED_LIMITS = (1e37, 1e18, 1e9)
"""Beyond the first, a model that rounds to float32 may refuse a row; no raw number is beyond the last."""
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
    in_float32: bool
    """Whether the model rounds the value to float32 before it compares."""


@dataclass(frozen=True, slots=True, eq=False)
class _Limits:
    """Limits as arrays, [m] each."""

    feature: I64
    column: I64
    limit: F64
    in_float32: Bool
    largest: F64
    """Of the feature."""


class CutPoints:
    """Finds cut points of the raw features of a pipeline."""

    def __init__(
        self, preprocessing: Preprocessing, background: F64, names: Sequence[str], numbers: Sequence[int]
    ) -> None:
        """Take a raw row [F] that the steps accept, the features' names for messages, and which of them are numbers."""
        self._preprocessing = preprocessing
        self._background = background
        self._names = names
        self.largest: dict[int, float] = {}
        """The largest number, with either sign, that the steps accept for each such feature."""
        waiting = list(numbers)
        for tried in _TRIED_LIMITS:
            taken = waiting if self._take(waiting, tried) else [f for f in waiting if self._take([f], tried)]
            self.largest.update(dict.fromkeys(taken, tried))
            waiting = [feature for feature in waiting if feature not in self.largest]
        self.largest.update(dict.fromkeys(waiting, _TRIED_LIMITS[-1]))

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
            np.array([self.largest[limit.feature] for limit in limits]),
        )
        every = np.arange(len(limits))
        low, high = _ordinal(-table.largest), _ordinal(table.largest)
        below_all = ~self._satisfies(table, every, -table.largest)
        above_all = self._satisfies(table, every, table.largest)
        between = np.flatnonzero(~below_all & ~above_all)
        self._check_far(table, below_all, above_all)
        self._narrow(table, low, high, between)
        self._check(table, low, between)
        cuts = np.where(below_all, -np.inf, np.where(above_all, np.inf, _number(low)))
        return dict(zip(limits, cuts.tolist(), strict=True))

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

    def _narrow(self, table: _Limits, low: I64, high: I64, waiting: I64) -> None:
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
            holds = self._satisfies(table, np.repeat(waiting, probes), _number(tried.reshape(-1)))
            n_satisfied = np.count_nonzero(holds.reshape(tried.shape), axis=1)
            bounds = np.column_stack([low[waiting], tried, high[waiting]])
            each = np.arange(len(waiting))
            low[waiting], high[waiting] = bounds[each, n_satisfied], bounds[each, n_satisfied + 1]
            waiting = waiting[high[waiting].view(np.uint64) - low[waiting].view(np.uint64) > 1]

    def _satisfies(self, table: _Limits, some: I64, numbers: F64) -> Bool:
        """Return whether the numbers [m] satisfy the limits that `some` [m] names."""
        rows, row_indices = self.rows(table.feature[some], numbers)
        found = np.empty(len(some))
        for part in self._preprocessing.chunks(len(rows)):
            values = self._preprocessing.matrix(rows[part]).values
            here = np.flatnonzero((row_indices >= part.start) & (row_indices < part.stop))
            found[here] = values[row_indices[here] - part.start, table.column[some[here]]]
        with np.errstate(over="ignore"):
            rounded = found.astype(np.float32).astype(np.float64)
        kept: Bool = np.where(table.in_float32[some], rounded, found) <= table.limit[some]
        return kept

    def _check_far(self, table: _Limits, below_all: Bool, above_all: Bool) -> None:
        """Refuse limits that only numbers beyond the largest tried one reach: such rows would take the wrong side."""
        reached = table.largest == _TRIED_LIMITS[0]
        for feature in sorted(set(table.feature[reached].tolist())):
            rows = np.repeat(self._background[None], 2, axis=0)
            rows[:, feature] = -_FAR, _FAR
            if not self._preprocessing.answers(rows):
                continue
            some = np.flatnonzero(table.feature == feature)
            low, high = self._preprocessing.matrix(rows).values[:, table.column[some]]
            # Where a step overflows, a value may be NaN, which compares as false.
            crossed = (below_all[some] & (low <= table.limit[some])) | (above_all[some] & (high > table.limit[some]))
            if np.any(crossed):
                name = self._names[feature]
                raise UnsupportedModelError(
                    f"the model splits {name!r} at numbers beyond {_TRIED_LIMITS[0]:g}, which mlrf does not fold; divide the "
                    "column by a constant before the pipeline, and train it again",
                    feature=name,
                )

    def _check(self, table: _Limits, cuts: I64, found: I64) -> None:
        steps = np.arange(1 - _CHECKED_ULPS, 1 + _CHECKED_ULPS)
        at_once = max(1, _COMPARED_AT_ONCE // max(1, len(found)))
        for start in range(0, len(steps) if len(found) else 0, at_once):
            some = np.repeat(found, len(steps[start : start + at_once]))
            step = np.tile(steps[start : start + at_once], len(found))
            largest = table.largest[some]
            numbers = np.clip(_number(cuts[some] + step), -largest, largest)
            wrong = (self._satisfies(table, some, numbers) != (step <= 0)) & (np.abs(numbers) < largest)
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
    return _number((_ordinal(numbers)[:, None] + steps).reshape(-1))


def _ordinal(numbers: F64) -> I64:
    """Return integers in the order of the float64 numbers, adjacent for adjacent numbers; 0 for both zeros."""
    bits = np.ascontiguousarray(numbers, np.float64).view(np.int64)
    return np.where(bits < 0, np.iinfo(np.int64).min - bits, bits)


def _number(ordinals: I64) -> F64:
    bits = np.where(ordinals < 0, np.iinfo(np.int64).min - ordinals, ordinals)
    return np.ascontiguousarray(bits, np.int64).view(np.float64)
