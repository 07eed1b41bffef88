"""Tables of many kinds as rows of float64: NumPy, pandas, Polars, Arrow, and lists of instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import FeatureCountError, InvalidRequestError, MissingFeatureError, UnknownFeatureError
from mlrf.core.schema import Leniency, Schema

Table = npt.NDArray[np.float64]


def read_rows(schema: Schema, rows: Any, leniency: Leniency) -> Table:
    """Return the rows of a table as C-contiguous float64 [n, F].

    NumPy arrays hold codes in schema order and are taken as they are; in a table with column names the columns are found
    by name and categories by value. InvalidRequestError names the row, the feature and the value that do not fit.
    """
    if isinstance(rows, np.ndarray):
        return _array_rows(schema, rows)
    columns = _columns(rows)
    if columns is not None:
        return _table_rows(schema, columns, leniency)
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
        return _instance_rows(schema, rows, leniency)
    raise InvalidRequestError(
        f"rows must be a NumPy array, a pandas, Polars or Arrow table, or a list of instances, not {type(rows).__name__}"
    )


def _array_rows(schema: Schema, rows: npt.NDArray[Any]) -> Table:
    if rows.ndim != 2 or rows.shape[1] != len(schema.features):  # noqa: PLR2004
        raise FeatureCountError(
            f"expected an array [n, {len(schema.features)}], got {list(rows.shape)}",
            expected=len(schema.features),
            got=list(rows.shape),
        )
    return np.ascontiguousarray(rows, dtype=np.float64)


def _columns(rows: Any) -> Mapping[str, list[Any]] | None:
    """Return a table's columns as Python values, None in place of every kind of missing; None when it is no table."""
    if hasattr(rows, "to_pydict"):  # Arrow
        return rows.to_pydict()  # type: ignore[no-any-return]
    if hasattr(rows, "to_dict") and hasattr(rows, "iloc"):  # pandas
        return {str(name): _pandas_values(rows[name]) for name in rows.columns}
    if hasattr(rows, "to_dict") and hasattr(rows, "get_columns"):  # Polars
        return {column.name: column.to_list() for column in rows.get_columns()}
    return None


def _pandas_values(column: Any) -> list[Any]:
    missing = column.isna().to_numpy()
    return [None if gone else value for value, gone in zip(column.tolist(), missing, strict=True)]


def _table_rows(schema: Schema, columns: Mapping[str, list[Any]], leniency: Leniency) -> Table:
    absent = [name for name in schema.names if name not in columns]
    if absent:
        raise MissingFeatureError(f"the table has no column {absent[0]!r}", feature=absent[0], missing=absent[:20])
    extra = [name for name in columns if name not in set(schema.names)]
    if extra and leniency.unknown_features == "refuse":
        raise UnknownFeatureError(
            f"the table's column {extra[0]!r} is no feature of the model; drop it, or ignore unknown features",
            feature=extra[0],
            unknown=extra[:20],
        )
    table = np.empty((len(next(iter(columns.values()))), len(schema.features)))
    for index, name in enumerate(schema.names):
        table[:, index] = _column_numbers(schema, index, columns[name], leniency)
    return table


def _column_numbers(schema: Schema, index: int, values: list[Any], leniency: Leniency) -> list[float]:
    numbers = []
    for place, value in enumerate(values):
        try:
            missing = isinstance(value, float) and value != value  # noqa: PLR0124  NaN is how a column of floats says missing
            numbers.append(schema.number(index, None if missing else value, leniency))
        except InvalidRequestError as error:
            raise type(error)(f"row {place}: {error}", row=place, **error.details) from error
    return numbers


def _instance_rows(schema: Schema, rows: Sequence[Any], leniency: Leniency) -> Table:
    table = np.empty((len(rows), len(schema.features)))
    for place, instance in enumerate(rows):
        try:
            table[place] = schema.row(instance, leniency)
        except InvalidRequestError as error:
            raise type(error)(f"row {place}: {error}", row=place, **error.details) from error
    return table
