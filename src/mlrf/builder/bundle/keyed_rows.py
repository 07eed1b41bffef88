"""`features.parquet`: the rows that a bundle serves by key, sorted by key and typed by the schema.

The rows go through a store of this build's own, which sorts them and finds keys that are there twice with no more than a
batch in memory; the file is then written from it. So the same rows in any order, in any types that mean the same, make the
same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.core.errors import BuildError, ConfigError, FeaturesUnavailableError, RowsError
from mlrf.core.feature import Category, Kind
from mlrf.core.manifest import FEATURES, KeyFieldEntry, RowsEntry
from mlrf.core.schema import Schema
from mlrf.features.bulk_load import Loaded, load_rows
from mlrf.features.entity_key import EntityKey, KeyField, KeyType
from mlrf.features.interface import Batch
from mlrf.features.lmdb_store import LmdbStore
from mlrf.features.row_format import HEAD_BYTES, NO_TIME, RowFormat
from mlrf.features.rows_parquet import RowsFile, column_types

_BATCH_ROWS = 1 << 14
_GROUP_ROWS = 1 << 16
_INT64 = float(1 << 63)
_KEY_TYPES = {
    KeyType.STRING: pa.string(),
    KeyType.INTEGER: pa.int64(),
    KeyType.DATE: pa.date32(),
    KeyType.BOOLEAN: pa.bool_(),
}
_EPOCH_ORDINAL = 719_163
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class KeyedRowsOptions:
    """The options of a build for rows by key."""

    key: Sequence[str]
    """Fields as `name` or `name:type`; without a file of rows each needs its type."""
    file: Path | None = None
    as_of_column: str | None = None
    partial: bool = False
    explain: bool = False


def keyed_rows_options(
    file: str | os.PathLike[str] | None,
    key: Sequence[str] | None,
    as_of_column: str | None = None,
    *,
    partial: bool = False,
    explain: bool = False,
) -> KeyedRowsOptions | None:
    """Return the options for rows by key, None if none is given; ConfigError if one option needs another."""
    if file is not None and not key:
        raise ConfigError("--features: name the columns that find a row, as in --key store_id,date")
    if file is None and (as_of_column is not None or partial or explain):
        option = "--as-of-column" if as_of_column is not None else "--partial" if partial else "--explain"
        raise ConfigError(f"{option} is about the rows of --features, which is not given")
    return (
        None if not key else KeyedRowsOptions(key, None if file is None else Path(file), as_of_column, partial, explain)
    )


@contextmanager
def keyed_rows(
    wanted: KeyedRowsOptions | None, schema: Schema, folder: Path, progress: Progress
) -> Iterator[KeyedRows | None]:
    """Yield the rows of a build, read and checked; None where it has none."""
    if wanted is None:
        yield None
        return
    rows = KeyedRows(wanted, schema, folder, progress)
    try:
        yield rows
    finally:
        rows.release()


def read_key(wanted: KeyedRowsOptions) -> EntityKey:
    """Return the key that the options name; a field without a type has the type of its column in the file.

    ConfigError for fields that make no key; RowsError for columns that make none.
    """
    key_fields = [field.partition(":") for field in wanted.key]
    types = {} if wanted.file is None else column_types(wanted.file)
    fields = []
    for name, _, kind in key_fields:
        if not name:
            raise ConfigError(f"--key {','.join(wanted.key)}: a field has no name")
        if not kind and wanted.file is None:
            raise ConfigError(f"--key {name}: say its type, as in {name}:date, for there is no --features to tell it")
        if not kind and name not in types:
            raise RowsError(
                f"{wanted.file} has no column {name!r} of strings, integers, dates or booleans for the key", column=name
            )
        if kind and kind not in tuple(KeyType):
            raise ConfigError(f"--key {name}: {kind!r} is not one of {', '.join(KeyType)}")
        fields.append(KeyField(name, KeyType(kind or types[name])))
    try:
        return EntityKey(tuple(fields))
    except ValueError as error:
        raise ConfigError(f"--key: {error}") from error


class KeyedRows:
    """The rows of a build, checked and sorted; `release` closes their temporary store."""

    def __init__(self, wanted: KeyedRowsOptions, schema: Schema, folder: Path, progress: Progress) -> None:
        """Read and check the rows; RowsError says which does not fit, BuildError that the disk is full."""
        self.format = RowFormat(schema, read_key(wanted))
        self._wanted = wanted
        _check_as_of(wanted, self.format)
        self._store = LmdbStore(folder / "sorted", self.format, durable=False)
        self.loaded = Loaded(0, 0, 0)
        self.absent: tuple[int, ...] = ()
        try:
            if wanted.file is not None:
                self._load(wanted, wanted.file, progress)
        except BaseException:
            self.release()
            raise

    def _load(self, wanted: KeyedRowsOptions, path: Path, progress: Progress) -> None:
        file = RowsFile(path, self.format, as_of_column=wanted.as_of_column, partial=wanted.partial)
        self.absent = file.absent
        if wanted.explain and self.absent:
            names = ", ".join(repr(self.format.schema.names[index]) for index in self.absent)
            raise ConfigError(f"--explain: the rows lack {names}, so their answers are not known yet")
        n_rows = max(1, file.n_rows)
        progress("reading rows by key", 0.0)
        try:
            # Rows that are not in order are read twice.
            self.loaded = load_rows(
                self._store, file, path.name, lambda read: progress("reading rows by key", min(1.0, read / n_rows))
            )
        except FeaturesUnavailableError as error:
            raise BuildError(f"the rows by key could not be sorted: {error}; nothing was left behind") from error
        if not self.loaded.rows:
            raise RowsError(f"{path} has no rows")
        progress("reading rows by key", 1.0)

    def batches(self, rows: int = _BATCH_ROWS) -> Iterator[Batch]:
        """Yield the rows in the order of their keys."""
        return self._store.in_order(rows)

    def values(self, batch: Batch) -> npt.NDArray[np.float64]:
        """Return the values of a batch [n, F], missing and absent as NaN."""
        return _values(batch, len(self.format.schema.features))

    def entry(self, *, explained: bool) -> RowsEntry:
        """Return what the manifest says of the rows."""
        key = [KeyFieldEntry(field.name, field.type.value) for field in self.format.key.fields]
        return RowsEntry(key, self._wanted.as_of_column, self.loaded.rows, self.loaded.rows if explained else 0)

    def write(self, folder: Path, progress: Progress) -> dict[str, Path]:
        """Write `features.parquet` into the folder, where there are rows; return the files of the bundle by name."""
        if self._wanted.file is None:
            return {}
        path = folder / FEATURES
        table = _Table(self)
        written = 0
        with pq.ParquetWriter(path, table.schema, compression="zstd", write_page_checksum=True) as writer:
            for batch in self.batches(_GROUP_ROWS):
                writer.write_table(table.of(batch), row_group_size=_GROUP_ROWS)
                written += len(batch.keys)
                progress("writing rows by key", written / self.loaded.rows)
        return {FEATURES: path}

    def key_columns(self, batch: Batch) -> dict[str, pa.Array]:
        """Return the key's fields as columns."""
        decoded = [self.format.key.decode(key) for key in batch.keys]
        columns = {}
        for field in self.format.key.fields:
            values: list[Any] = [key[field.name] for key in decoded]
            if field.type is KeyType.DATE:
                days = np.array(values, "datetime64[D]").astype(np.int64)
                columns[field.name] = pa.array(days.astype(np.int32)).cast(pa.date32())
            else:
                columns[field.name] = pa.array(values, _KEY_TYPES[field.type])
        return columns

    @property
    def as_of_column(self) -> str | None:
        """The column that says when a row was true."""
        return self._wanted.as_of_column

    def release(self) -> None:
        """Give the store back."""
        self._store.release()


class _Table:
    """How rows become columns: fields of the key, then features that are no field, then the as-of time."""

    def __init__(self, rows: KeyedRows) -> None:
        self._rows = rows
        schema = rows.format.schema
        self._fields = {field.name: field.type for field in rows.format.key.fields}
        # As `find_columns` spells them, which reads this file again.
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
        # A date that is a feature too is a string to the feature.
        self._spelled = {n for n, kind in self._fields.items() if kind is KeyType.DATE and n in names}
        columns = [
            (name, pa.string() if name in self._spelled else _KEY_TYPES[kind]) for name, kind in self._fields.items()
        ]
        columns += [(schema.names[index], self._types[index]) for index in self._features]
        if self._as_of is not None:
            columns.append((self._as_of, pa.timestamp("us", tz="UTC")))
        self.schema = pa.schema(columns)

    def of(self, batch: Batch) -> pa.Table:
        """Return a batch as a table."""
        values = self._rows.values(batch)
        keys = self._rows.key_columns(batch)
        columns = [keys[n].cast(pa.string()) if n in self._spelled else keys[n] for n in self._fields]
        schema = self._rows.format.schema
        columns += [_column(values[:, i], schema.features[i].categories, self._types[i]) for i in self._features]
        if self._as_of is not None:
            times = np.frombuffer(b"".join(r[HEAD_BYTES - 8 : HEAD_BYTES] for r in batch.records), "<i8")
            columns.append(pa.array(times, pa.timestamp("us", tz="UTC"), mask=times == NO_TIME))
        return pa.table(columns, schema=self.schema)


def _values(batch: Batch, n_features: int) -> npt.NDArray[np.float64]:
    raw = np.frombuffer(b"".join(batch.records), np.uint8).reshape(len(batch.records), -1)
    return np.ascontiguousarray(raw[:, HEAD_BYTES : HEAD_BYTES + 8 * n_features]).view("<f8")


def _check_as_of(wanted: KeyedRowsOptions, rows: RowFormat) -> None:
    if wanted.as_of_column is not None and wanted.as_of_column in rows.schema.names:
        raise ConfigError(f"--as-of-column: {wanted.as_of_column!r} is a feature of the model, not a time")


def _column_types(rows: KeyedRows, features: Sequence[int]) -> dict[int, pa.DataType]:
    """Return each feature's type in the file; whole numbers and categories as far as the values that occur allow."""
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
