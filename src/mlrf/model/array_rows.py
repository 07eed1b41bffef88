"""Reads NumPy arrays as rows: numbers and codes in schema order, by the schema's rules for a row by position.

The kernel checks the whole array, in a small fraction of the time of predicting. Values are checked one by one only from the
first row with a value that it does not admit, so that the error is the same as for any other input.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf import _kernel
from mlrf.core.errors import FeatureCountError, InvalidRequestError
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.model.row_values import at_row, number_of

Table = npt.NDArray[np.float64]
_DOUBLE = np.dtype(np.float64)


def array_rows(
    schema: Schema, rows: npt.NDArray[Any], leniency: Leniency, reader: _kernel.InstanceRows | None = None
) -> Table:
    """Return the rows of an array [n, F] as C-contiguous float64; InvalidRequestError names the row, feature and value.

    `reader`, that of the schema, makes arrays of objects faster.
    """
    if rows.ndim != 2 or rows.shape[1] != len(schema.features):  # noqa: PLR2004
        one_row = "; one row is rows.reshape(1, -1)" if rows.shape == (len(schema.features),) else ""
        raise FeatureCountError(
            f"expected an array [n, {len(schema.features)}], got {list(rows.shape)}{one_row}",
            expected=len(schema.features),
            got=list(rows.shape),
        )
    if isinstance(rows, np.ma.MaskedArray):
        rows = np.ma.filled(rows.astype(np.float64), np.nan)
    if rows.dtype.kind not in "biuf":
        table = np.empty(rows.shape)
        left: Iterable[int] = range(len(rows))
        if reader is not None and rows.dtype.kind == "O":
            left = reader.read_array(np.require(rows, requirements=("C_CONTIGUOUS", "ALIGNED")), table)
        _convert(schema, rows, table, left, leniency)
        return table
    table = _doubles(rows)
    outside = schema.column_rules.first_outside(table)
    if outside is None:
        return table
    rows, table = table, table.copy()
    _convert(schema, rows, table, range(outside // len(schema.features), len(rows)), leniency)
    return table


def _doubles(rows: npt.NDArray[Any]) -> Table:
    """Return an array of numbers as C-contiguous float64, the array itself if it is that."""
    if type(rows) is np.ndarray and rows.dtype == _DOUBLE and rows.flags.c_contiguous:
        return rows
    with np.errstate(over="ignore"):  # a long double beyond float64 is an infinity
        return np.ascontiguousarray(rows, dtype=_DOUBLE)


def _convert(schema: Schema, rows: npt.NDArray[Any], table: Table, indices: Iterable[int], leniency: Leniency) -> None:
    """Write rows into a table, value by value; InvalidRequestError for the first invalid value, in row order."""
    for row_index in indices:
        try:
            table[row_index] = [
                number_of(schema, index, value, leniency, by_code=True)
                for index, value in enumerate(rows[row_index : row_index + 1].tolist()[0])  # a matrix has no 1-D row
            ]
        except InvalidRequestError as error:
            raise at_row(error, row_index) from error
