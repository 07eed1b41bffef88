"""Tables of many kinds as rows of float64: NumPy, pandas, Polars, Arrow, and lists of instances.

Columns of numbers are converted whole; a column that holds anything else, or a number that its feature cannot take, goes
value by value through the schema, which finds the row and says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import FeatureCountError, InvalidRequestError, MissingFeatureError, UnknownFeatureError
from mlrf.core.schema import Feature, Kind, Leniency, Schema

Table = npt.NDArray[np.float64]

_SHOWN = 20
_NUMBERS = (Kind.NUMERIC, Kind.INTEGER)


def read_rows(schema: Schema, rows: Any, leniency: Leniency) -> Table:
    """Return the rows of a table as C-contiguous float64 [n, F].

    NumPy arrays hold codes in schema order and are taken as they are; in a table with column names the columns are found
    by name and categories by value. InvalidRequestError names the row, the feature and the value that do not fit.
    """
    if isinstance(rows, np.ndarray):
        return _array_rows(schema, rows)
    labels = _column_labels(rows)
    if labels is not None:
        return _table_rows(schema, rows, labels, leniency)
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


def _column_labels(rows: Any) -> list[Any] | None:
    """Return what a table's columns are called (names, but for pandas, which takes anything); None for what is no table."""
    labels = getattr(rows, "column_names", None)  # Arrow
    if labels is None:
        labels = getattr(rows, "columns", None)  # pandas and Polars
    return None if labels is None or not hasattr(rows, "__getitem__") else list(labels)


def _table_rows(schema: Schema, rows: Any, labels: Sequence[Any], leniency: Leniency) -> Table:
    names = [str(label) for label in labels]
    found = find_columns(schema.names, names)
    absent = [name for name in schema.names if name not in found]
    if absent:
        raise MissingFeatureError(f"the table has no column {absent[0]!r}", feature=absent[0], missing=absent[:_SHOWN])
    taken = set(found.values())
    extra = [name for place, name in enumerate(names) if place not in taken]
    if extra and leniency.unknown_features == "refuse":
        raise UnknownFeatureError(
            f"the table's column {extra[0]!r} is no feature of the model; drop it, or ignore unknown features",
            feature=extra[0],
            unknown=extra[:_SHOWN],
        )
    table = np.empty((len(rows), len(schema.features)))
    for index, feature in enumerate(schema.features):
        column = rows[labels[found[feature.name]]]
        numbers = _whole_column(feature, _numeric_values(column))
        table[:, index] = numbers if numbers is not None else _column_by_value(schema, index, column, leniency)
    return table


def _is_boolean(column: Any) -> bool:
    """Whether the column's type, not its values alone, is that of booleans, in the words of pandas, Polars and Arrow."""
    kind = column.dtype if hasattr(column, "dtype") else column.type
    return str(kind).lower().startswith("bool")


def _numeric_values(column: Any) -> npt.NDArray[Any] | None:
    """Return a column of numbers or booleans as an array, missing as NaN; None for any other column."""
    values = np.asarray(column.to_numpy())
    return values if values.dtype.kind in "fiub" else None


def _whole_column(feature: Feature, values: npt.NDArray[Any] | None) -> Table | None:
    """Convert a whole column; None when it must be looked at value by value."""
    if values is None or feature.categories is not None:
        return None
    # A column of booleans is 0 and 1 to a number, as LightGBM takes it; a column of numbers is no boolean.
    takers = (*_NUMBERS, Kind.BOOLEAN) if values.dtype.kind == "b" else (*_NUMBERS, Kind.CATEGORICAL)
    if feature.kind not in takers:
        return None
    numbers = values.astype(np.float64)
    if np.isinf(numbers).any() or (not feature.nullable and np.isnan(numbers).any()):
        return None
    if feature.kind in (Kind.INTEGER, Kind.CATEGORICAL) and not np.all(
        np.isnan(numbers) | (numbers == np.floor(numbers))
    ):
        return None
    return numbers


def _values(column: Any) -> Iterable[Any]:
    """Return a column as Python values, None in place of every kind of missing."""
    if hasattr(column, "to_pylist"):  # Arrow
        return column.to_pylist()  # type: ignore[no-any-return]
    if hasattr(column, "isna"):  # pandas
        missing = column.isna().to_numpy()
        return (None if gone else value for value, gone in zip(column.tolist(), missing, strict=True))
    return column.to_list()  # type: ignore[no-any-return]  # Polars


def _column_by_value(schema: Schema, index: int, column: Any, leniency: Leniency) -> list[float]:
    values = _values(column)
    if schema.features[index].kind in _NUMBERS and _is_boolean(column):
        values = (None if value is None else int(value) for value in values)
    return _each_value(schema, index, values, leniency)


def _each_value(schema: Schema, index: int, values: Iterable[Any], leniency: Leniency) -> list[float]:
    known: dict[str, float] = {}
    numbers = []
    for place, value in enumerate(values):
        number = known.get(value) if isinstance(value, str) else None
        if number is None:
            number = _one_value(schema, index, place, value, leniency)
            if isinstance(value, str):
                known[value] = number
        numbers.append(number)
    return numbers


def _one_value(schema: Schema, index: int, place: int, value: Any, leniency: Leniency) -> float:
    missing = isinstance(value, float) and value != value  # noqa: PLR0124  NaN is how a column of floats says missing
    plain = value.item() if isinstance(value, np.generic) else value
    try:
        return schema.number(index, None if missing else plain, leniency)
    except InvalidRequestError as error:
        raise type(error)(f"row {place}: {error}", **{"row": place, **error.details}) from error


def _instance_rows(schema: Schema, rows: Sequence[Any], leniency: Leniency) -> Table:
    table = np.empty((len(rows), len(schema.features)))
    for place, instance in enumerate(rows):
        try:
            known: Any = _known_alone(schema, instance) if leniency.unknown_features == "ignore" else instance
            table[place] = schema.row(known, leniency)
        except InvalidRequestError as error:
            raise type(error)(f"row {place}: {error}", **{"row": place, **error.details}) from error
    return table


def _known_alone(schema: Schema, instance: Any) -> Any:
    if not isinstance(instance, Mapping):
        return instance
    return {name: instance[name] for name in schema.names if name in instance}
