"""The numbers of a raw feature that the pipeline answers, where a step such as a logarithm has no result for some.

The steps never decrease, so the numbers for which every column is a number are an interval. Below it a column may be missing
(NaN), if steps and model accept that; otherwise such numbers are refused by the library, and by the feature's range.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlrf.builder.importers.imported_model import ImportedModel
from mlrf.builder.importers.pipeline.float_order import number_at, ordinal
from mlrf.builder.importers.pipeline.lineage import Lineage
from mlrf.builder.importers.pipeline.matrix import Preprocessing
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64

Answer = Callable[[F64], F64 | None]
"""Returns the matrix [n, D] of rows [n, F]; None if the steps or the model refuse one of them."""
_TAKE_INFINITIES = ("catboost",)
"""Libraries that round to float32 and accept an infinity there; those that compute in float64 accept one too."""


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The numbers of one feature that the pipeline answers."""

    least: float
    most: float
    is_bounded_below: bool = False
    """Whether the library refuses smaller numbers."""
    is_bounded_above: bool = False
    may_be_missing: bool = False
    """Whether numbers make a column missing below some number."""


class AnsweredNumbers:
    """Finds the numbers that the steps and the model of a pipeline answer."""

    def __init__(
        self,
        model: ImportedModel,
        lineage: Lineage,
        preprocessing: Preprocessing,
        feature_of_column: Sequence[int],
        names: Sequence[str],
    ) -> None:
        """Take the raw feature behind each column of the matrix, and the features' names."""
        self._model, self._columns, self._preprocessing = model, lineage.columns, preprocessing
        self._feature_of_column, self._names = feature_of_column, names
        self.partial = self._partial_features()
        """The features for some of whose numbers a step may have no result, and their columns."""
        self.background = self._background_row()
        """A raw row [F] for which no step and not the model refuses a number or finds it missing."""

    def _partial_features(self) -> dict[int, list[int]]:
        """Return the features for some of whose numbers a step may have no result, and their columns."""
        found: dict[int, list[int]] = {}
        for column, feature in enumerate(self._feature_of_column):
            found.setdefault(feature, []).append(column)
        columns = self._columns
        return {f: each for f, each in found.items() if not all(columns[column].is_total for column in each)}

    def _background_row(self) -> F64:
        """Return a raw row [F] for which no step and not the model refuses a number or finds it missing."""
        if not self.partial:
            return np.zeros(len(self._names))
        columns = [column for each in self.partial.values() for column in each]
        for row in self._preprocessing.trial_rows():
            matrix = self._answer(row)
            if matrix is not None and np.all(np.isfinite(matrix[0, columns])):
                found: F64 = row[0]
                return found
        raise UnsupportedModelError(
            "the pipeline's steps (log, sqrt or another function) refuse every number that was tried for "
            f"{', '.join(repr(self._names[feature]) for feature in self.partial)}, so they cannot be folded; apply that "
            "function before sending rows, and build from the steps after it"
        )

    def _answer(self, rows: F64) -> F64 | None:
        """Return the matrix of raw rows; None if the steps or the model refuse one of them."""
        if not self._preprocessing.answers(rows):
            return None
        found = self._preprocessing.matrix(rows)
        never_missing = [column for column, feature in enumerate(self._model.features) if not feature.nullable]
        if np.any(np.isnan(found.seen[:, never_missing])):
            return None
        reads_float32 = self._model.forest.inputs == "float32" and self._model.library not in _TAKE_INFINITIES
        if reads_float32 or self._model.is_limited_to_float32:
            with np.errstate(over="ignore"):
                rounded = found.values.astype(np.float32)
            if np.any(np.isinf(rounded)):
                return None
        return found.values

    def ranges(self) -> dict[int, NumberRange]:
        """Return the range of each partial feature."""
        found: dict[int, NumberRange] = {}
        inexact = self.partial and not all(column.is_exact for column in self._columns)
        shifted = [self._preprocessing.shifted(direction) for direction in ((-1, 1) if inexact else ())]

        def answer(rows: F64) -> F64 | None:
            # On another processor a result next to the greatest number may be an infinity, which the next step refuses.
            return self._answer(rows) if all(steps.answers(rows) for steps in shifted) else None

        for feature, columns in self.partial.items():
            found[feature] = number_range(
                feature, columns, self.background, sys.float_info.max, answer=answer, hints=list(found.values())
            )
        return found


def number_range(
    feature: int,
    columns: Sequence[int],
    background: F64,
    largest: float,
    *,
    answer: Answer,
    hints: Sequence[NumberRange] = (),
) -> NumberRange:
    """Return the range of a feature whose value in the row `background` [F] the pipeline answers.

    `columns` are those of the matrix that depend on it, `hints` the ranges of other features, which are tried first.
    """

    def found(number: float) -> F64 | None:
        row = background[None].copy()
        row[0, feature] = number
        return answer(row)

    def is_regular(number: float) -> bool:
        matrix = found(number)
        return matrix is not None and not np.any(np.isnan(matrix[0, columns]))

    start = float(background[feature])
    least = _last_holding(is_regular, start, -largest, [each.least for each in hints])
    most = _last_holding(is_regular, start, largest, [each.most for each in hints])
    is_above = most < largest
    if least == -largest:
        return NumberRange(least, most, is_bounded_above=is_above)
    if found(number_at(ordinal(least) - 1)) is None or found(-largest) is None:
        return NumberRange(least, most, is_bounded_below=True, is_bounded_above=is_above)
    return NumberRange(-largest, most, is_bounded_above=is_above, may_be_missing=True)


def _last_holding(holds: Callable[[float], bool], start: float, end: float, hints: Sequence[float]) -> float:
    """Return the number nearest to `end` up to which a condition holds, as it does at `start`."""
    if holds(end):
        return end
    inside, outside = ordinal(start), ordinal(end)
    step = 1 if outside > inside else -1
    for hint in dict.fromkeys(map(ordinal, hints)):
        if (hint - inside) * step >= 0 and holds(number_at(hint)) and not holds(number_at(hint + step)):
            return number_at(hint)
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        if holds(number_at(middle)):
            inside = middle
        else:
            outside = middle
    return number_at(inside)
