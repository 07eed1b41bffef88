"""The model's input matrix: the output of the fitted steps for raw rows.

A sparse matrix is zero where nothing is stored, which XGBoost reads as missing.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mlrf.builder.importers.pipeline.function_steps import shifted_steps
from mlrf.builder.importers.pipeline.raw_table import RawTable
from mlrf.core.errors import UnsupportedModelError
from mlrf.core.forest import F64

_CHUNK_CELLS = 1 << 22
"""Numbers of a matrix in memory at a time."""
_AROUND_ZERO = (-5e-324, 0.0)
_TRIED_NUMBERS = (0.0, 1.0, 0.5, 2.0, 10.0, 1e2, 1e3, 1e4, 1e6, 1e9, -1.0, -10.0, -1e3, 1e-3)
"""Numbers of which some step, such as a logarithm, may refuse the first."""


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """Rows of the model's columns, [n, D]."""

    values: F64
    """Zero where a sparse matrix stores nothing."""
    seen: F64
    """As the model reads them: NaN where it reads a missing value."""


class Preprocessing:
    """Fitted steps, applied to raw rows."""

    def __init__(self, steps: Any, table: RawTable, n_columns: int, *, library: str) -> None:
        """Take the steps as a pipeline of `n_columns` columns, and the library of the model that reads their matrix."""
        self._steps = steps
        self._table = table
        self._n_columns = n_columns
        self._library = library

    def shifted(self, direction: int) -> Preprocessing:
        """Return the steps with results that are the most (direction 1) or the least (-1) that a processor may compute."""
        return Preprocessing(shifted_steps(self._steps, direction), self._table, self._n_columns, library=self._library)

    def trial_rows(self) -> Iterator[F64]:
        """Yield rows [1, F] to try, whose numbers are all the same and whose categories are the first."""
        is_number = np.array([self._table.columns[raw].categories is None for raw in self._table.used], np.bool_)
        for number in _TRIED_NUMBERS:
            yield np.where(is_number, number, 0.0)[None]

    @property
    def n_columns(self) -> int:
        """The number of the matrix's columns."""
        return self._n_columns

    def transform(self, rows: F64) -> Any:
        """Return the steps' output for raw rows [n, F]: an array or a sparse matrix."""
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of unknown categories, and of bins without rows
            return plain_matrix(self._steps.transform(self._table.rows(rows)))

    @cached_property
    def is_sparse(self) -> bool:
        """Whether the model sees a sparse matrix; fitting has decided that for all rows."""
        row = next((row for row in self.trial_rows() if self.answers(row)), np.zeros((1, len(self._table.used))))
        return hasattr(self.transform(row), "tocsr")

    @property
    def zero_limits(self) -> tuple[float, ...]:
        """The values around zero that the library reads as zero, as bounds."""
        return _AROUND_ZERO if self._library == "xgboost" and self.is_sparse else ()

    def answers(self, rows: F64) -> bool:
        """Return whether the steps accept raw rows [n, F], all of them."""
        try:
            self.transform(rows)
        except (ValueError, TypeError, LookupError):
            return False
        return True

    def matrix(self, rows: F64) -> Matrix:
        """Return the matrix of raw rows [n, F]."""
        found = self.transform(rows)
        if not hasattr(found, "tocsr"):
            return Matrix(found, found)
        values = np.asarray(found.toarray(), np.float64)
        if self._library != "xgboost":
            return Matrix(values, values)
        stored = found.tocoo()
        seen = np.full(values.shape, np.nan)
        seen[stored.row, stored.col] = stored.data
        return Matrix(values, seen)

    def chunks(self, n_rows: int) -> Iterator[slice]:
        """Yield slices of `n_rows` rows whose matrices fit into memory."""
        size = max(256, _CHUNK_CELLS // max(1, self._n_columns))
        for start in range(0, n_rows, size):
            yield slice(start, min(start + size, n_rows))


def plain_matrix(found: Any) -> Any:
    """Return the steps' output as numbers, an array or a sparse matrix; UnsupportedModelError if it contains anything else."""
    if hasattr(found, "tocsr"):
        return found.tocsr()
    values = found.to_numpy() if hasattr(found, "to_numpy") else np.asarray(found)
    if values.dtype.kind == "O":
        try:
            return values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise UnsupportedModelError(
                f"the pipeline passes text to its model ({error}); encode it in a step (OneHotEncoder, OrdinalEncoder, "
                "TargetEncoder) or drop it"
            ) from error
    return values.astype(np.float64)
