"""Reads a Parquet file of rows in batches, as the bytes that stores keep. It needs pyarrow and NumPy, which a server does not.

Columns are matched by name; extra columns are ignored. Values are checked against the schema as in a request: an invalid value
is refused with its row, column and value. Columns of numbers are checked as a whole, others once per distinct
value.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.core.column_matching import find_columns
from mlrf.core.column_rules import rule_of
from mlrf.core.errors import InvalidRequestError, RowsError
from mlrf.core.feature import Feature, Kind
from mlrf.core.schema import Schema
from mlrf.core.value_text import clip
from mlrf.features.as_of import MAX_AS_OF_US, MIN_AS_OF_US, read_as_of
from mlrf.features.interface import Batch, Record
from mlrf.features.key_columns import encode_keys, type_of_column
from mlrf.features.row_format import HEAD_BYTES, NO_TIME, RowFormat

BATCH_ROWS = 1 << 13
_BUFFER_BYTES = 1 << 20
_DAY_US = 86_400_000_000
_TO_US = {"s": 1_000_000, "ms": 1000, "us": 1}
Column = npt.NDArray[np.float64]


def open_rows(path: Path) -> pq.ParquetFile:
    """Open a Parquet file; RowsError when it cannot be read."""
    if not path.is_file():
        raise RowsError(f"{path} cannot be read: no such file")
    try:
        return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def column_types(path: Path) -> dict[str, str]:
    """Return the key field type that each column of a file could have, by column name."""
    types = {}
    for column in _arrow_schema(path, open_rows(path)):
        try:
            types[column.name] = type_of_column(column.name, column.type).value
        except RowsError:
            continue
    return types


class RowsFile:
    """A file whose columns match a row format."""

    def __init__(self, path: Path, rows: RowFormat, *, as_of_column: str | None = None, partial: bool = False) -> None:
        """Open a file; RowsError names the columns that it lacks or has twice.

        `partial` allows whole feature columns to be absent.
        """
        self.path = path
        self._rows = rows
        self._as_of_column = as_of_column
        self._file = open_rows(path)
        names = [column.name for column in _arrow_schema(path, self._file)]
        needed = [*rows.key.names, *([] if as_of_column is None else [as_of_column])]
        for name in needed:
            if names.count(name) != 1:
                has = "two columns" if name in names else "no column"
                what = "as-of column" if name == as_of_column else "key"
                raise RowsError(f"{path} has {has} {name!r} for the {what}; it has {_listed(names)}", column=name)
        try:
            found = find_columns(rows.schema.names, names)
        except InvalidRequestError as error:
            raise RowsError(f"{path}: {error}", **error.details) from error
        absent = [name for name in rows.schema.names if name not in found]
        if absent and not partial:
            raise RowsError(
                f"{path} has no column {_listed(absent)} of the model's features; add it, or give --partial if requests "
                "send it as an override",
                missing=absent[:20],
            )
        self.absent = tuple(index for index, name in enumerate(rows.schema.names) if name not in found)
        self._columns = {name: names[index] for name, index in found.items()}
        self._read = sorted({*self._columns.values(), *needed})

    @property
    def n_rows(self) -> int:
        """Number of rows by the file's metadata."""
        return self._file.metadata.num_rows  # type: ignore[no-any-return]

    def batches(self) -> Iterator[Batch]:
        """Yield the rows in the file's order; RowsError at the first invalid row."""
        first_row = 0
        reading = self._file.iter_batches(BATCH_ROWS, columns=self._read, use_threads=False)
        while True:
            try:
                table = next(reading, None)
                if table is None:
                    return
                yield self._encode(table, first_row)
            except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
                raise _unreadable(self.path, error) from error
            except (RowsError, InvalidRequestError) as error:
                raise RowsError(f"{self.path}: {error}", **error.details) from error
            first_row += len(table)

    def _encode(self, table: pa.RecordBatch, first_row: int) -> Batch:
        keys = encode_keys(self._rows.key, {name: table.column(name) for name in self._rows.key.names}, first_row)
        schema = self._rows.schema
        values = np.full((len(table), len(schema.features)), np.nan)
        for index, feature in enumerate(schema.features):
            if index not in self.absent:
                column = table.column(self._columns[feature.name])
                values[:, index] = read_column(schema, index, column, first_row)
        times = np.full(len(table), NO_TIME, np.int64)
        if self._as_of_column is not None:
            times = _times(self._as_of_column, table.column(self._as_of_column), first_row)
        return Batch(keys, pack_many(self._rows, values, times, self.absent))


def pack_many(
    rows: RowFormat, values: Column, times: npt.NDArray[np.int64], absent: tuple[int, ...] = ()
) -> list[Record]:
    """Return the bytes of each of n rows, as `RowFormat.pack` does; values [n, F], times [n]."""
    n, n_features = values.shape
    sample = rows.pack([0.0] * n_features, None, absent)
    raw = np.empty((n, len(sample)), np.uint8)
    raw[:] = np.frombuffer(sample, np.uint8)
    raw[:, HEAD_BYTES - 8 : HEAD_BYTES] = times.astype("<i8")[:, None].view(np.uint8)
    raw[:, HEAD_BYTES : HEAD_BYTES + 8 * n_features] = np.ascontiguousarray(values, "<f8").view(np.uint8)
    return raw.view(f"V{len(sample)}").ravel().tolist()


def read_column(schema: Schema, index: int, column: pa.Array, first_row: int) -> Column:
    """Return a column as float64, missing as NaN, categories as codes; RowsError names the invalid row."""
    feature = schema.features[index]
    if pa.types.is_null(column.type):
        numbers = np.full(len(column), np.nan)
    elif _is_whole(feature, column.type):
        numbers = _numbers(column)
        if feature.kind is not Kind.NUMERIC:
            numbers += 0.0  # an integer has no -0
    else:
        return _distinct(schema, index, column, first_row)
    rule = rule_of(feature)
    outside = (numbers < rule.least) | (numbers > rule.most)
    if rule.whole:
        outside |= ~np.isnan(numbers) & (numbers != np.floor(numbers))
    if not rule.may_miss:
        outside |= np.isnan(numbers)
    for position in np.flatnonzero(outside).tolist():
        numbers[position] = _number(schema, index, column[position].as_py(), first_row + position)
    return numbers


def _is_whole(feature: Feature, kind: pa.DataType) -> bool:
    """Return whether a column of this type holds only numbers for this feature."""
    if feature.categories is not None:
        return False
    if pa.types.is_boolean(kind):
        return feature.kind is not Kind.CATEGORICAL
    return feature.kind is not Kind.BOOLEAN and (pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _numbers(column: pa.Array) -> Column:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)


def _distinct(schema: Schema, index: int, column: pa.Array, first_row: int) -> Column:
    """Convert each distinct value once, by the schema's rule for a single value."""
    if pa.types.is_nested(column.type):
        name = schema.names[index]
        raise RowsError(f"feature {name!r} contains {column.type}, not single values; convert the column", feature=name)
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    missing = np.asarray(encoded.indices.is_null())
    codes = np.where(missing, 0, codes).astype(np.int64)
    values = encoded.dictionary.to_pylist()
    numbers = np.full(len(values) + 1, np.nan)
    used = np.zeros(len(values) + 1, bool)
    used[codes] = ~missing if len(codes) else False
    for code in np.unique(codes[~missing]).tolist():
        row = first_row + int(np.argmax((codes == code) & ~missing))
        numbers[code] = _number(schema, index, values[code], row)
    if missing.any():
        _number(schema, index, None, first_row + int(np.argmax(missing)))
    return np.where(missing, np.nan, numbers[codes])


def _number(schema: Schema, index: int, value: Any, row: int) -> float:
    if isinstance(value, float) and value != value:  # noqa: PLR0124  NaN is missing in a column of floats
        value = None
    elif not isinstance(value, str | int | float | bool | None):
        feature = schema.features[index]
        raise RowsError(
            f"row {row}: feature {feature.name!r} contains {clip(str(value))}, a {type(value).__name__}; convert the column",
            row=row,
            feature=feature.name,
        )
    try:
        return schema.number(index, value)
    except InvalidRequestError as error:
        raise RowsError(f"row {row}: {error}", **{"row": row, **error.details}) from error


def _times(name: str, column: pa.Array, first_row: int) -> npt.NDArray[np.int64]:
    missing = np.asarray(column.is_null())
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        counts = np.where(missing, 0, _counts(column)).astype(np.int64)
        if pa.types.is_timestamp(kind) and kind.unit == "ns":
            times = counts // 1000
        else:
            factor = _DAY_US if pa.types.is_date32(kind) else _TO_US["ms" if pa.types.is_date64(kind) else kind.unit]
            bounds = MIN_AS_OF_US // factor, MAX_AS_OF_US // factor
            times = np.clip(counts, bounds[0] - 1, bounds[1] + 1) * factor
        outside = (times < MIN_AS_OF_US) | (times > MAX_AS_OF_US)
        if outside.any():
            row = first_row + int(np.argmax(outside))
            raise RowsError(
                f"row {row}: the as-of column {name!r} is outside the years 1 to 9999", row=row, column=name
            )
    else:
        values = column.to_pylist()
        times = np.zeros(len(values), np.int64)
        for index, value in enumerate(values):
            try:
                times[index] = NO_TIME if value is None else read_as_of(value)
            except ValueError as error:
                row = first_row + index
                raise RowsError(f"row {row}: the as-of column {name!r}: {error}", row=row, column=name) from error
    return np.where(missing, NO_TIME, times)


def _counts(column: pa.Array) -> npt.NDArray[Any]:
    width = pa.int32() if pa.types.is_date32(column.type) else pa.int64()
    return np.asarray(column.cast(width).fill_null(0).to_numpy(zero_copy_only=False))


def _arrow_schema(path: Path, file: pq.ParquetFile) -> pa.Schema:
    try:
        return file.schema_arrow
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> RowsError:
    reason = " ".join(str(error).split())
    return RowsError(f"{path} is not a Parquet file that can be read: {reason or type(error).__name__}")


def _listed(names: list[str]) -> str:
    first = ", ".join(repr(clip(name)) for name in names[:5])
    return first if len(names) <= 5 else f"{first} and {len(names) - 5} more"  # noqa: PLR2004  as many as shown
