"""`golden.parquet`: the golden rows of a bundle, with the training library's predictions.

A row is stored as its differences from the row before it, the first as its differences from zeros: the indices of the `columns`
that differ, ascending, and their `values`. Values are compared bit by bit, so a NaN equals the same NaN.

Arrays are made of buffers and read from them: pyarrow's conversions from and to NumPy would import pandas, which takes a tenth
of the processor time of a build.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.core.errors import BundleError
from mlrf.core.forest import F64

_VALUES = pa.list_(pa.float64())
_COLUMNS = pa.list_(pa.int32())
_FIELDS = [("kind", pa.string()), ("columns", _COLUMNS), ("values", _VALUES)]
_SCHEMA = pa.schema([*_FIELDS, ("margin", _VALUES), ("prediction", _VALUES)])
_N_FEATURES = b"mlrf.n_features"
_MAX_NUMBERS = 1 << 28
N = TypeVar("N", np.int32, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Golden rows [m, F], their kinds [m], and the training library's margins and predictions [m, K]."""

    kinds: list[str]
    rows: F64
    margins: F64
    predictions: F64


def encode_golden(golden: Golden) -> bytes:
    """Return the Parquet file, the same bytes for the same rows and the same version of pyarrow."""
    bits = np.ascontiguousarray(golden.rows).view(np.uint64)
    changed = [np.flatnonzero(row != before) for before, row in pairwise(bits)]
    changed.insert(0, np.flatnonzero(bits[0]))
    offsets = np.cumsum([0, *map(len, changed)], dtype=np.int32)
    values = np.concatenate([row[columns] for row, columns in zip(golden.rows, changed, strict=True)])
    columns = [
        _texts(golden.kinds),
        _lists_of(_COLUMNS, offsets, np.concatenate(changed).astype(np.int32)),
        _lists_of(_VALUES, offsets, values),
        *(_lists(answers) for answers in (golden.margins, golden.predictions)),
    ]
    schema = _SCHEMA.with_metadata({_N_FEATURES: str(golden.rows.shape[1])})
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=schema), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def read_golden(path: Path) -> Golden:
    """Read a file that `encode_golden` wrote; BundleError for any other file."""
    try:
        table = pq.ParquetFile(path).read()
        if not table.schema.equals(_SCHEMA):
            raise BundleError(
                f"{path}: its columns are not those of a file of golden rows; build the bundle again", file=path.name
            )
        n_features = int((table.schema.metadata or {})[_N_FEATURES])
        margins, predictions = (_matrix(table.column(name)) for name in ("margin", "prediction"))
        return Golden(table.column("kind").to_pylist(), _rows(table, n_features), margins, predictions)
    except (pa.ArrowException, OSError, ValueError, LookupError) as error:
        raise BundleError(f"{path}: the golden rows cannot be read: {error}", file=path.name) from error


def _rows(table: pa.Table, n_features: int) -> F64:
    if not 0 < n_features * len(table) <= _MAX_NUMBERS:
        raise ValueError(f"{len(table)} rows of {n_features} features")
    rows = np.zeros((len(table), n_features))
    columns, values = (table.column(name).combine_chunks() for name in ("columns", "values"))
    flat_columns, flat_values = _numbers(columns.flatten(), np.int32), _numbers(values.flatten(), np.float64)
    sizes = _numbers(columns.value_lengths(), np.int32)
    if not np.array_equal(sizes, _numbers(values.value_lengths(), np.int32)) or np.any(flat_columns < 0):
        raise ValueError("its columns and values do not match")
    first = 0
    for index, size in enumerate(sizes.tolist()):
        rows[index] = rows[index - 1]  # the row before the first is zeros
        rows[index, flat_columns[first : first + size]] = flat_values[first : first + size]
        first += size
    return rows


def _lists(values: F64) -> pa.Array:
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return _lists_of(_VALUES, offsets, np.ascontiguousarray(values, np.float64).reshape(-1))


def _lists_of(kind: pa.ListType, offsets: npt.NDArray[np.int32], values: npt.NDArray[Any]) -> pa.Array:
    inner = pa.Array.from_buffers(kind.value_type, len(values), [None, pa.py_buffer(values)])
    return pa.Array.from_buffers(kind, len(offsets) - 1, [None, pa.py_buffer(offsets)], children=[inner])


def _texts(texts: Sequence[str]) -> pa.Array:
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers)


def _matrix(column: pa.ChunkedArray) -> F64:
    return _numbers(column.combine_chunks().flatten(), np.float64).reshape(len(column), -1)


def _numbers(array: pa.Array, kind: type[N]) -> npt.NDArray[N]:
    """Return the values of an array without nulls; ValueError if it has some."""
    if array.null_count:
        raise ValueError("a value is null")
    buffer = array.buffers()[1]
    return np.frombuffer(buffer if buffer is not None else b"", kind)[array.offset : array.offset + len(array)]
