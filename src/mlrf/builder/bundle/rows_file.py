"""Writes `features.parquet`: the rows that a bundle serves by key, sorted by key, with types from the schema."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.builder.bundle.keyed_rows import KeyedRows, Progress
from mlrf.builder.bundle.parquet_keys import KEY_TYPES, key_columns
from mlrf.core.feature import Category, Kind
from mlrf.core.manifest import FEATURES
from mlrf.features.entity_key import KeyType
from mlrf.features.interface import Batch
from mlrf.features.row_format import HEAD_BYTES, NO_TIME

_GROUP_ROWS = 1 << 16
_INT64 = float(1 << 63)


def write_rows(rows: KeyedRows, folder: Path, progress: Progress) -> dict[str, Path]:
    """Write `features.parquet` into the folder if there are rows; return the files of the bundle by name."""
    if not rows.loaded.rows:
        return {}
    path = folder / FEATURES
    table = _Table(rows)
    written = 0
    with pq.ParquetWriter(path, table.schema, compression="zstd", write_page_checksum=True) as writer:
        for batch in rows.batches(_GROUP_ROWS):
            writer.write_table(table.of(batch), row_group_size=_GROUP_ROWS)
            written += len(batch.keys)
            progress("writing rows by key", written / rows.loaded.rows)
    return {FEATURES: path}


class _Table:
    """Converts rows to columns: fields of the key, then features that are not fields, then the as-of time."""

    def __init__(self, rows: KeyedRows) -> None:
        self._rows = rows
        schema = rows.format.schema
        self._fields = {field.name: field.type for field in rows.format.key.fields}
        # With the names that `find_columns` expects, which reads this file.
        spelled = {name.replace(" ", "_") for name in self._fields} | set(self._fields)
        self._features = [
            index
            for index, feature in enumerate(schema.features)
            if index not in rows.absent and feature.name not in spelled
        ]
        self._types = _column_types(rows, self._features)
        as_of = rows.as_of_column
        self._as_of = as_of if as_of is not None and as_of not in self._fields else None
        names = set(schema.names)
        # If a date of the key is also a feature, the feature is a string.
        self._spelled = {n for n, kind in self._fields.items() if kind is KeyType.DATE and n in names}
        columns = [
            (name, pa.string() if name in self._spelled else KEY_TYPES[kind]) for name, kind in self._fields.items()
        ]
        columns += [(schema.names[index], self._types[index]) for index in self._features]
        if self._as_of is not None:
            columns.append((self._as_of, pa.timestamp("us", tz="UTC")))
        self.schema = pa.schema(columns)

    def of(self, batch: Batch) -> pa.Table:
        """Return a batch as a table."""
        values = self._rows.values(batch)
        keys = key_columns(self._rows, batch)
        columns = [keys[n].cast(pa.string()) if n in self._spelled else keys[n] for n in self._fields]
        schema = self._rows.format.schema
        columns += [_column(values[:, i], schema.features[i].categories, self._types[i]) for i in self._features]
        if self._as_of is not None:
            times = np.frombuffer(b"".join(r[HEAD_BYTES - 8 : HEAD_BYTES] for r in batch.records), "<i8")
            columns.append(pa.array(times, pa.timestamp("us", tz="UTC"), mask=times == NO_TIME))
        return pa.table(columns, schema=self.schema)


def _column_types(rows: KeyedRows, features: Sequence[int]) -> dict[int, pa.DataType]:
    """Return each feature's type in the file: integers and categories if the values allow it."""
    schema = rows.format.schema
    open_columns = [i for i in features if schema.features[i].kind in (Kind.INTEGER, Kind.CATEGORICAL)]
    largest = np.zeros(len(open_columns))
    used: dict[int, set[int]] = {i: set() for i in open_columns if schema.features[i].categories is not None}
    for batch in rows.batches():
        values = rows.values(batch)
        largest = np.fmax(largest, np.nanmax(np.abs(values[:, open_columns]), axis=0, initial=0.0))
        for index, codes in used.items():
            column = values[:, index]
            codes.update(np.unique(column[~np.isnan(column)]).astype(int).tolist())
    types = {}
    for index in features:
        feature = schema.features[index]
        match feature.kind:
            case Kind.NUMERIC:
                types[index] = pa.float64()
            case Kind.BOOLEAN:
                types[index] = pa.bool_()
            case _ if feature.categories is None:
                is_int64 = largest[open_columns.index(index)] < _INT64
                types[index] = pa.int64() if is_int64 else pa.float64()
            case _:
                types[index] = _category_type([feature.categories[code] for code in sorted(used[index])])
    return types


def _category_type(categories: Sequence[Category]) -> pa.DataType:
    if all(isinstance(c, str) for c in categories):
        return pa.string()
    if all(isinstance(c, bool) for c in categories):
        return pa.bool_()
    is_int64 = all(isinstance(c, int) and abs(c) < 1 << 63 for c in categories)
    return pa.int64() if is_int64 else pa.float64()


def _column(values: npt.NDArray[np.float64], categories: Sequence[Category] | None, kind: pa.DataType) -> pa.Array:
    missing = np.isnan(values)
    if categories is not None:
        codes = np.where(missing, 0, values).astype(np.int64).tolist()
        plain = [None if gone else categories[code] for code, gone in zip(codes, missing.tolist(), strict=True)]
        return pa.array(plain, kind)
    filled = np.where(missing, 0.0, values)
    if pa.types.is_boolean(kind):
        return pa.array(filled != 0.0, kind, mask=missing)
    if pa.types.is_int64(kind):
        return pa.array(filled.astype(np.int64), kind, mask=missing)
    return pa.array(filled, kind, mask=missing)
