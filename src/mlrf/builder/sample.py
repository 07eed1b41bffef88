"""Reads sample rows, which refine the schema (kinds, an example) and become golden rows.

A sample may have more columns than the model (the target, keys), but not fewer, nor values that the model's
columns cannot represent.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec.structs import replace

from mlrf.core.column_matching import find_columns
from mlrf.core.errors import InvalidRequestError, ModelUnreadableError, RequestError, SampleError
from mlrf.core.feature import Category, Feature, Kind
from mlrf.core.forest import F64
from mlrf.core.leniency import Leniency
from mlrf.core.schema import Schema

MAX_SAMPLE_ROWS = 100_000
_UNNAMED = "; a model that was trained on an array has no names: rename the sample's columns, or give an array"
_LENIENT = Leniency(unknown_categories="missing")


class Sample:
    """The rows of a sample by the model's feature names."""

    def __init__(self, table: pa.Table, names: tuple[str, ...], *, by_code: bool = False) -> None:
        """Select the model's columns; SampleError names those that the sample lacks or has twice."""
        try:
            found = find_columns(names, table.column_names)
        except InvalidRequestError as error:
            raise SampleError(f"the sample's columns: {error}", **error.details) from error
        absent = [name for name in names if name not in found]
        if absent:
            raise SampleError(
                f"the sample has no column {', '.join(map(repr, absent[:5]))}"
                + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")  # noqa: PLR2004  as many as shown
                + f"; it has {', '.join(map(repr, table.column_names[:10]))}"
                + _UNNAMED * (len(absent) == len(names)),
                missing=absent[:20],
            )
        if not table.num_rows:
            raise SampleError("the sample has no rows")
        self._columns = {name: table.column(found[name]) for name in names}
        self._names = names
        self._by_code = by_code

    def features(self, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
        """Return the features with the kinds of the sample's types; `with_examples` adds the examples."""
        return tuple(self._kind(feature) for feature in features)

    def rows(self, schema: Schema) -> F64:
        """Return the sample as rows [n, F]; SampleError names row, column and value that the schema refuses."""
        count = min(len(next(iter(self._columns.values()))), MAX_SAMPLE_ROWS)
        rows = np.empty((count, len(schema.features)))
        for index, name in enumerate(self._names):
            column = self._columns[name].slice(0, count)
            rows[:, index] = _numbers(schema, index, column, by_code=self._by_code)
        return rows

    def _kind(self, feature: Feature) -> Feature:
        kind = self._columns[feature.name].type
        if pa.types.is_boolean(kind) and _are_booleans_as_numbers(feature):
            return replace(feature, categories=tuple(map(bool, feature.categories or ())), example=None)
        if feature.kind is not Kind.NUMERIC:
            return feature
        if pa.types.is_boolean(kind):
            # A boolean is 0 or 1, and needs no range; where the model refuses one of them, it stays a number.
            takes_both = feature.least <= 0.0 and feature.most >= 1.0
            if not takes_both:
                return feature
            return replace(feature, kind=Kind.BOOLEAN, example=None, least=-math.inf, most=math.inf)
        if pa.types.is_integer(kind):
            return replace(feature, kind=Kind.INTEGER, example=None)
        if pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
            return feature
        raise SampleError(
            f"the sample's column {feature.name!r} contains {kind}, but the model uses it as a number",
            feature=feature.name,
        )


def _are_booleans_as_numbers(feature: Feature) -> bool:
    """Whether categories are 0 and 1, which is what encoders list for a column of pandas' type "boolean"."""
    listed = feature.categories
    return (
        bool(listed) and feature.hashing is None and all(type(each) is int and each in (0, 1) for each in listed or ())
    )


def schema_of(features: tuple[Feature, ...], sample: Any) -> tuple[Schema, F64 | None]:
    """Return the schema of a model's features, refined by a sample, and the sample's rows [n, F] if there is one.

    ModelUnreadableError if the features do not form a schema; SampleError if the sample does not match.
    """
    try:
        schema = Schema(features)
    except ValueError as error:
        raise ModelUnreadableError(f"the model's features do not form a schema: {error}") from error
    if sample is None:
        return schema, None
    given = read_sample(sample, schema.names)
    schema = Schema(given.features(features))
    rows = given.rows(schema)
    return with_examples(schema, rows), rows


def with_examples(schema: Schema, rows: F64) -> Schema:
    """Return the schema with each feature's example taken from the row of the sample with the fewest missing values."""
    fullest = rows[int(np.argmin(np.count_nonzero(np.isnan(rows), axis=1)))]
    features = []
    for feature, x in zip(schema.features, fullest.tolist(), strict=True):
        shown = Schema((feature,)).instance([x])[feature.name] if np.isfinite(x) else None
        features.append(feature if shown is None else replace(feature, example=shown))
    return Schema(tuple(features))


def read_sample(sample: Any, names: tuple[str, ...]) -> Sample:
    """Read a sample: the path of a Parquet file, a table with named columns, or an array [n, F] of numbers and codes.

    SampleError says what is invalid.
    """
    if isinstance(sample, str | os.PathLike):
        return Sample(_parquet(Path(sample)), names)
    if isinstance(sample, np.ndarray):
        if sample.ndim != 2 or sample.shape[1] != len(names):  # noqa: PLR2004  rows and columns
            raise SampleError(f"the sample is an array {list(sample.shape)}, not [n, {len(names)}]")
        return Sample(pa.table([pa.array(column) for column in sample.T], names=list(names)), names, by_code=True)
    return Sample(_table(sample), names)


def sampled_categories(sample: Any) -> Callable[[str], list[Category] | None]:
    """Return a function that gives the distinct values of a sample's column as category names; None without a sample.

    The sample is read when the first column is requested; SampleError as `read_sample`.
    """

    @cache
    def table() -> pa.Table | None:
        if sample is None or isinstance(sample, np.ndarray):
            return None
        return _parquet(Path(sample)) if isinstance(sample, str | os.PathLike) else _table(sample)

    @cache
    def counts() -> Counter[str]:
        found = table()
        return Counter() if found is None else Counter(found.column_names)

    def categories(name: str) -> list[Category] | None:
        found = table()
        if found is None or counts()[name] != 1:
            return None
        column = found.column(name).slice(0, MAX_SAMPLE_ROWS)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not _names_categories(column.type):
            return None
        return sorted(column.drop_null().unique().to_pylist(), key=lambda value: (str(type(value)), value))

    return categories


def _names_categories(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_integer,
        pa.types.is_boolean,
    )
    return any(test(kind) for test in tests)


def _parquet(path: Path) -> pa.Table:
    if not path.is_file():
        raise SampleError(f"the sample {path} does not exist or is not a file")
    try:
        return pq.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise SampleError(f"the sample {path} is not a Parquet file that can be read: {error}") from error


def _table(sample: Any) -> pa.Table:
    try:
        if isinstance(sample, pa.Table):
            return sample
        if hasattr(sample, "to_arrow"):  # Polars
            return sample.to_arrow()
        if hasattr(sample, "iloc") and hasattr(sample, "columns"):
            return pa.Table.from_pandas(sample, preserve_index=False)
        if isinstance(sample, Mapping):
            return pa.table(dict(sample))
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise SampleError(f"the sample is not a table of plain columns: {error}") from error
    remedy = "; make it dense with its toarray()" if hasattr(sample, "toarray") else ""
    raise SampleError(f"a sample must be the path of a Parquet file or a table, not {type(sample).__name__}{remedy}")


def _numbers(schema: Schema, index: int, column: pa.ChunkedArray, *, by_code: bool) -> list[float] | F64:
    if not pa.types.is_dictionary(column.type) and schema.codes[index] is None and _is_number(column.type):
        # Not safe: an integer beyond 2^53 becomes the nearest float64, as it does for the training library.
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
    numbers = []
    for row, value in enumerate(column.to_pylist()):
        try:
            missing = isinstance(value, float) and value != value  # noqa: PLR0124  NaN is missing in a column of floats
            numbers.append(schema.number(index, None if missing else value, _LENIENT, by_code=by_code))
        except RequestError as error:
            feature = schema.features[index]
            if isinstance(value, str) and feature.kind is Kind.CATEGORICAL and feature.categories is None:
                raise _unnamed_categories(schema.names[index], value) from error
            raise SampleError(f"the sample's row {row}: {error}", row=row, **error.details) from error
    if schema.codes[index] is not None and all(map(math.isnan, numbers)) and column.null_count < len(column):
        raise SampleError(
            f"the sample's column {schema.names[index]!r} contains none of the feature's categories, but values such as "
            f"{column[0]}; list them with --categories in the order of their codes",
            feature=schema.names[index],
        )
    return numbers


def _unnamed_categories(name: str, value: str) -> SampleError:
    return SampleError(
        f"the sample's column {name!r} contains names of categories such as {value!r}, which cannot be read from the model: "
        "list them with --categories in the order of their codes",
        feature=name,
    )


def _is_number(kind: pa.DataType) -> bool:
    tests = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_null)
    return any(test(kind) for test in tests)
