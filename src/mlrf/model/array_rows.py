"""NumPy arrays as rows: numbers and codes in schema order, under the schema's rules for a row by position.

The array is checked as a whole, at a small share of the cost of predicting. Only if the check fails are rows checked value by
value, so that the error is the same as for any other input.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import FeatureCountError, InvalidRequestError
from mlrf.core.feature import Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.model.row_values import at_row, number_of

Table = npt.NDArray[np.float64]
_CHUNK_VALUES = 1 << 15
"""Values checked together: few enough that intermediate results stay in the processor's cache."""


def array_rows(schema: Schema, rows: npt.NDArray[Any], leniency: Leniency) -> Table:
    """Return the rows of an array [n, F] as C-contiguous float64; InvalidRequestError names the row, feature and value."""
    if rows.ndim != 2 or rows.shape[1] != len(schema.features):  # noqa: PLR2004
        raise FeatureCountError(
            f"expected an array [n, {len(schema.features)}], got {list(rows.shape)}",
            expected=len(schema.features),
            got=list(rows.shape),
        )
    if isinstance(rows, np.ma.MaskedArray):
        rows = np.ma.filled(rows.astype(np.float64), np.nan)
    if rows.dtype.kind not in "biuf":
        return _by_value(schema, rows, leniency)
    table = np.ascontiguousarray(rows, dtype=np.float64)
    columns = [index for index, feature in enumerate(schema.features) if feature.kind is not Kind.NUMERIC]
    required = [index for index, feature in enumerate(schema.features) if not feature.nullable]
    fits = _no_infinity(table) and not (required and np.isnan(table[:, required]).any())
    if fits and (not columns or _fit(schema, columns, table[:, columns])):
        return table
    return _by_value(schema, table, leniency)


def _no_infinity(table: Table) -> bool:
    flat = table.reshape(-1)
    for first in range(0, len(flat), _CHUNK_VALUES):
        part = flat[first : first + _CHUNK_VALUES]
        if not np.isfinite(part).all() and np.isinf(part).any():
            return False
    return True


def _fit(schema: Schema, columns: list[int], values: Table) -> bool:
    """Return whether integers, codes and booleans are whole numbers within their range."""
    least, most = np.full(len(columns), -math.inf), np.full(len(columns), math.inf)
    for place, index in enumerate(columns):
        feature = schema.features[index]
        if feature.kind is Kind.BOOLEAN:
            least[place], most[place] = 0, 1
        elif feature.categories is not None:
            least[place], most[place] = 0, len(feature.categories) - 1
    for first in range(0, len(values), max(1, _CHUNK_VALUES // len(columns))):
        part = values[first : first + max(1, _CHUNK_VALUES // len(columns))]
        fits = (np.floor(part) == part) & (part >= least) & (part <= most)
        if not fits.all() and not (fits | np.isnan(part)).all():
            return False
    return True


def _by_value(schema: Schema, rows: npt.NDArray[Any], leniency: Leniency) -> Table:
    """Return the rows, checked value by value; InvalidRequestError for the first invalid value, in row order."""
    table = np.empty(rows.shape)
    for place, row in enumerate(rows.tolist()):
        try:
            table[place] = [number_of(schema, index, value, leniency, by_code=True) for index, value in enumerate(row)]
        except InvalidRequestError as error:
            raise at_row(error, place) from error
    return table
