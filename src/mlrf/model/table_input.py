"""Reads rows as float64 from NumPy, pandas, Polars, Arrow, objects that export Arrow's C stream, and lists of instances.

1. A value means the same in every kind of table; an invalid value raises the same error as in a server.
2. Columns are matched by name, with categories by value; rows without names are in schema order, with categories by code.
3. Columns of numbers are converted as a whole. Any other column, or one with an invalid number, goes through the schema value
   by value, which names the row and the fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf import _kernel
from mlrf.core.column_matching import find_columns
from mlrf.core.column_rules import rule_of
from mlrf.core.errors import (
    InvalidFeatureError,
    InvalidRequestError,
    MissingFeatureError,
    MlrfError,
    UnknownFeatureError,
)
from mlrf.core.feature import Feature, Kind
from mlrf.core.leniency import IGNORE_UNKNOWN_FEATURES, Leniency
from mlrf.core.schema import Schema
from mlrf.model.array_rows import Table, array_rows
from mlrf.model.distinct_values import Faults, encoded_column, numbers_of_codes
from mlrf.model.row_values import at_row, number_of
from mlrf.model.table_kinds import as_table
from mlrf.model.table_numbers import fill_numbers

_SHOWN = 20
_NUMBERS = (Kind.NUMERIC, Kind.INTEGER)


def read_rows(
    schema: Schema,
    rows: Any,
    leniency: Leniency,
    faults: Faults | None = None,
    reader: _kernel.InstanceRows | None = None,
) -> Table:
    """Return rows as C-contiguous float64 [n, F]; InvalidRequestError names the row, feature and invalid value.

    If `faults` is given, the errors of the rows of tables and lists are put there instead, and such rows contain NaN. `reader`,
    that of the schema, makes natural rows of Python values faster.
    """
    if not leniency.natural:
        reader = None
    if type(rows) is list:
        return _instance_rows(schema, rows, leniency, faults, reader)
    if isinstance(rows, memoryview):
        rows = np.asarray(rows)
    if isinstance(rows, np.ndarray):
        return array_rows(schema, rows, leniency, reader)
    table = as_table(rows)
    if table is not None:
        return _table_rows(schema, table, leniency, faults, reader)
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes):
        return _instance_rows(schema, rows, leniency, faults, reader)
    if hasattr(rows, "__array__"):  # tensors of other libraries
        return array_rows(schema, np.asarray(rows), leniency, reader)
    raise InvalidRequestError(
        "rows must be a NumPy array, a pandas, Polars or Arrow table, an object with __arrow_c_stream__ or __array__, "
        f"or a list of instances, not {type(rows).__name__}{_remedy(rows)}"
    )


def _remedy(rows: Any) -> str:
    """Return what turns such rows into some that are read; empty if that is not plain."""
    if isinstance(rows, Mapping):
        is_one_row = all(isinstance(value, str | bytes) or not isinstance(value, Iterable) for value in rows.values())
        return (
            "; one row is a list with one dict, [row]" if is_one_row else "; make a table of it: pandas.DataFrame(rows)"
        )
    if hasattr(rows, "toarray"):
        return "; pass rows.toarray()"
    if isinstance(rows, Iterable) and not isinstance(rows, str | bytes):
        return "; pass list(rows)"
    return ""


def _table_rows(
    schema: Schema, table: Any, leniency: Leniency, faults: Faults | None, reader: _kernel.InstanceRows | None
) -> Table:
    labels = list(table.column_names if hasattr(table, "column_names") else table.columns)
    names = [str(label) for label in labels]
    found = find_columns(schema.names, names)
    absent = [feature.name for feature in schema.features if feature.name not in found and not feature.optional]
    if absent:
        raise MissingFeatureError(f"the table has no column {absent[0]!r}", feature=absent[0], missing=absent[:_SHOWN])
    used = set(found.values())
    extra = [name for index, name in enumerate(names) if index not in used]
    if extra and leniency.unknown_features == "refuse":
        raise UnknownFeatureError(
            f"the table's column {extra[0]!r} is not a feature of the model; drop it, or "
            f"{IGNORE_UNKNOWN_FEATURES['client' if leniency.caller == 'client' else 'python']}",
            feature=extra[0],
            unknown=extra[:_SHOWN],
        )
    values = np.empty((len(table), len(schema.features)))
    columns = {
        index: table[labels[found[feature.name]]]
        for index, feature in enumerate(schema.features)
        if feature.name in found
    }
    done = fill_numbers(schema, columns, values)
    for index, feature in enumerate(schema.features):
        if index in done:
            continue
        if index not in columns:
            values[:, index] = schema.number(index, feature.default)
            continue
        values[:, index] = _column(schema, index, columns[index], leniency, faults, reader)
    return values


def _column(
    schema: Schema,
    index: int,
    column: Any,
    leniency: Leniency,
    faults: Faults | None,
    reader: _kernel.InstanceRows | None,
) -> Any:
    """Return a column [n]; InvalidFeatureError also if its library cannot convert it, whatever error it raises."""
    feature = schema.features[index]
    try:
        # Not for categories by value: a column of strings would be converted to Python's, and not be used.
        if feature.categories is None and (numbers := whole_column(feature, _numeric_values(column))) is not None:
            return numbers
        if (encoded := encoded_column(column)) is not None:
            return numbers_of_codes(schema, index, *encoded, leniency, faults)
        if reader is None or feature.categories is None or not hasattr(column, "iloc"):
            values = _values(column)
            if feature.kind in _NUMBERS and _is_boolean(column):
                values = (None if value is None else int(value) for value in values)
            return _column_by_value(schema, index, values, leniency, faults)
        return _categories(schema, index, column, leniency, faults, reader)
    except MlrfError:
        raise
    except Exception as error:
        kind = column.dtype if hasattr(column, "dtype") else column.type
        raise InvalidFeatureError(
            f"feature {feature.name!r}: the column, of type {kind}, cannot be read ({type(error).__name__}); convert it to "
            "numbers, strings or booleans",
            feature=feature.name,
            value=str(kind),
        ) from error


def _is_boolean(column: Any) -> bool:
    """Return whether the type of a pandas, Polars or Arrow column is boolean."""
    kind = column.dtype if hasattr(column, "dtype") else column.type
    return str(kind).lower().startswith("bool")


def _numeric_values(column: Any) -> npt.NDArray[Any] | None:
    """Return a column of numbers or booleans as an array, missing as NaN; None for any other column."""
    try:
        values = np.asarray(column.to_numpy())
    except Exception:  # noqa: BLE001  a type that NumPy does not have is converted value by value
        return None
    return values if values.dtype.kind in "fiub" and values.ndim == 1 else None


def whole_column(feature: Feature, values: npt.NDArray[Any] | None) -> Table | None:
    """Return a column converted as a whole; None when it must be converted value by value."""
    if values is None or feature.categories is not None:
        return None
    # For a numeric feature, booleans are 0 and 1, as in LightGBM; for a boolean feature, 0 and 1 are valid values.
    takers = (*_NUMBERS, Kind.BOOLEAN) if values.dtype.kind == "b" else tuple(Kind)
    if feature.kind not in takers:
        return None
    numbers = values.astype(np.float64)
    rule = rule_of(feature)
    if np.any((numbers < rule.least) | (numbers > rule.most)) or (not rule.may_miss and np.isnan(numbers).any()):
        return None
    if rule.whole and not np.all(np.isnan(numbers) | (numbers == np.floor(numbers))):
        return None
    return numbers


def _values(column: Any) -> Iterable[Any]:
    """Return a column as Python values, with None for every kind of missing value."""
    if hasattr(column, "to_pylist"):  # Arrow
        return column.to_pylist()  # type: ignore[no-any-return]
    if hasattr(column, "isna"):  # pandas
        missing = column.isna().to_numpy()
        return (None if gone else value for value, gone in zip(column.tolist(), missing, strict=True))
    return column.to_list()  # type: ignore[no-any-return]  # Polars


def _categories(
    schema: Schema, index: int, column: Any, leniency: Leniency, faults: Faults | None, reader: _kernel.InstanceRows
) -> Table:
    """Return a column [n] of pandas of a feature with listed categories; what the kernel leaves is converted by value."""
    numbers = np.empty(len(column))
    left = reader.read_column(index, column.tolist(), numbers)
    if left:
        rest = column.iloc[left]
        numbers[left] = _column_by_value(schema, index, _values(rest), leniency, faults, left)
    return numbers


def _column_by_value(
    schema: Schema,
    index: int,
    values: Iterable[Any],
    leniency: Leniency,
    faults: Faults | None,
    rows: Sequence[int] | None = None,
) -> list[float]:
    """Return the numbers of a column's values; `rows` are their rows, if they are not those of all rows."""
    known: dict[str, float] = {}
    numbers = []
    for at, value in enumerate(values):
        number = known.get(value) if isinstance(value, str) else None
        if number is None:
            try:
                number = number_of(schema, index, value, leniency)
            except InvalidRequestError as error:
                number = _fault(error, at if rows is None else rows[at], faults)
            else:
                if isinstance(value, str):
                    known[value] = number
        numbers.append(number)
    return numbers


def _instance_rows(
    schema: Schema, rows: Sequence[Any], leniency: Leniency, faults: Faults | None, reader: _kernel.InstanceRows | None
) -> Table:
    # Another sequence, or a subclass, may make its rows when it is iterated.
    rows = rows if type(rows) is list or type(rows) is tuple else list(rows)
    table = np.empty((len(rows), len(schema.features)))
    left = range(len(rows)) if reader is None else reader.read(rows, table)
    if not left:
        return table
    first = next((each for each in rows if each is not None), None)
    if faults is None and isinstance(first, bool | int | float | str | np.generic):
        raise InvalidRequestError(
            "the rows are a list of values; one row is a list with one list of values, [[...]], or a dict"
        )
    for row in left:
        try:
            table[row] = _instance_row(schema, rows[row], leniency)
        except InvalidRequestError as error:
            table[row] = _fault(error, row, faults)
    return table


def _fault(error: InvalidRequestError, row: int, faults: Faults | None) -> float:
    """Note what is wrong with a row, and return NaN; the error of the row if no faults are collected."""
    if faults is None:
        raise at_row(error, row) from error
    faults.setdefault(row, error)
    return math.nan


def _instance_row(schema: Schema, instance: Any, leniency: Leniency) -> list[float]:
    if isinstance(instance, Mapping):
        named = instance
        if len(named) > len(schema.names) and leniency.unknown_features == "ignore":
            named = {name: named[name] for name in schema.names if name in named}
        if named.keys() != set(schema.names):
            named = {**schema.defaults_for(named), **named}
        if named.keys() == set(schema.names):
            return [number_of(schema, index, named[name], leniency) for index, name in enumerate(schema.names)]
        instance = named
    elif isinstance(instance, np.ndarray | Sequence) and not isinstance(instance, str | bytes):
        values = list(np.atleast_1d(instance)) if isinstance(instance, np.ndarray | memoryview) else list(instance)
        if len(values) == len(schema.names):
            return [number_of(schema, index, value, leniency, by_code=True) for index, value in enumerate(values)]
        instance = values
    return schema.row(instance, leniency)
