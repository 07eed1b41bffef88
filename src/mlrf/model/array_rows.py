"""Reads NumPy arrays as rows: numbers and codes in schema order, by the schema's rules for a row by position.

The array is checked as a whole, in a small fraction of the time of predicting. Only if that check fails are values checked one
by one, so that the error is the same as for any other input.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf import _kernel
from mlrf.core.column_rules import ColumnRule, rule_of
from mlrf.core.errors import FeatureCountError, InvalidRequestError
from mlrf.core.feature import Kind
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema
from mlrf.model.row_values import at_row, number_of

Table = npt.NDArray[np.float64]
_CHUNK_VALUES = 1 << 15
"""Values checked together: few enough that intermediate results stay in the processor's cache."""


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
        return _by_value(schema, rows, leniency, reader)
    with np.errstate(over="ignore"):  # a long double beyond float64 is an infinity
        table = np.ascontiguousarray(rows, dtype=np.float64)
    columns = [index for index, feature in enumerate(schema.features) if feature.kind is not Kind.NUMERIC]
    required = [index for index, feature in enumerate(schema.features) if not feature.nullable]
    fits = _in_range(schema, table) and not (required and np.isnan(table[:, required]).any())
    if fits and (not columns or _whole_fit(schema, columns, table[:, columns])):
        return table
    return _by_value(schema, table, leniency, None)


def _in_range(schema: Schema, table: Table) -> bool:
    """Return whether all numbers are in their columns' ranges; may be false in error for integers, codes and booleans."""
    # Features without bounds of their own that treat infinities alike have one rule.
    alike = {id(feature.infinities): feature for feature in schema.features if feature.kind is Kind.NUMERIC}
    least: Any
    most: Any
    if len(alike) > 1 or any(feature.is_bounded for feature in schema.features):
        rules = [rule_of(feature) for feature in schema.features]
        least, most = np.array([rule.least for rule in rules]), np.array([rule.most for rule in rules])
    else:
        rule = rule_of(*alike.values()) if alike else ColumnRule()
        least, most = rule.least, rule.most
    parts = np.array_split(table, max(1, table.size // _CHUNK_VALUES))
    if isinstance(most, float) and -least == most:
        return math.isinf(most) or not any((np.abs(part) > most).any() for part in parts)
    return not any(((part < least) | (part > most)).any() for part in parts)


def _whole_fit(schema: Schema, columns: list[int], values: Table) -> bool:
    """Return whether integers, codes and booleans are whole numbers within their range."""
    rules = [rule_of(schema.features[index]) for index in columns]
    least, most = np.array([rule.least for rule in rules]), np.array([rule.most for rule in rules])
    for part in np.array_split(values, max(1, values.size // _CHUNK_VALUES)):
        fits = (np.floor(part) == part) & (part >= least) & (part <= most)
        if not fits.all() and not (fits | np.isnan(part)).all():
            return False
    return True


def _by_value(schema: Schema, rows: npt.NDArray[Any], leniency: Leniency, reader: _kernel.InstanceRows | None) -> Table:
    """Return the rows, checked value by value; InvalidRequestError for the first invalid value, in row order."""
    table = np.empty(rows.shape)
    left: Iterable[int] = range(len(rows))
    if reader is not None and rows.dtype.kind == "O":
        left = reader.read_array(np.require(rows, requirements=("C_CONTIGUOUS", "ALIGNED")), table)
    for row_index in left:
        try:
            table[row_index] = [
                number_of(schema, index, value, leniency, by_code=True)
                for index, value in enumerate(rows[row_index : row_index + 1].tolist()[0])  # a matrix has no 1-D row
            ]
        except InvalidRequestError as error:
            raise at_row(error, row_index) from error
    return table
