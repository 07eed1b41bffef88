"""`golden.parquet`: the golden rows that a bundle keeps, with the training library's answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlrf.core.errors import BundleError
from mlrf.core.forest import F64

_VALUES = pa.list_(pa.float64())
_SCHEMA = pa.schema([("kind", pa.string()), ("row", _VALUES), ("margin", _VALUES), ("prediction", _VALUES)])


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Golden rows [m, F], their kinds [m], and the training library's margins and predictions [m, K]."""

    kinds: list[str]
    rows: F64
    margins: F64
    predictions: F64


def encode_golden(golden: Golden) -> bytes:
    """Return the Parquet file, the same bytes for the same rows and the same version of pyarrow."""
    columns = [pa.array(golden.kinds, pa.string())]
    columns += [_lists(values) for values in (golden.rows, golden.margins, golden.predictions)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns, schema=_SCHEMA), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def read_golden(path: Path) -> Golden:
    """Read the file that `encode_golden` made; BundleError when it is not one."""
    try:
        table = pq.ParquetFile(path).read()
        if not table.schema.equals(_SCHEMA):
            raise BundleError(f"{path}: its columns are not those of golden rows", file=path.name)
        values = [_matrix(table.column(name)) for name in ("row", "margin", "prediction")]
        return Golden(table.column("kind").to_pylist(), *values)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BundleError(f"{path}: no golden rows can be read from it: {error}", file=path.name) from error


def _lists(values: F64) -> pa.Array:
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values.ravel(), pa.float64()), type=_VALUES)


def _matrix(column: pa.ChunkedArray) -> F64:
    flat = np.asarray(column.combine_chunks().flatten(), np.float64)
    return flat.reshape(len(column), -1)
