"""`golden.bin`: golden rows as plain numbers, which a server replays before it puts a bundle into service.

They are a selection of the rows of `golden.parquet`, with the training library's margins, because a server cannot read Parquet.
Little-endian: magic, format, rows m, features F, outputs K (u32 each), then the rows, then [m, K] margins as float64. A row is
stored as its difference from the row before it (the first as its difference from zeros):
a count c (u32); c columns (u32 each), omitted if c is F; c values (float64).
"""

from __future__ import annotations

import struct
from array import array
from pathlib import Path

import msgspec

from mlrf.core.errors import BundleError

_HEADER = struct.Struct("<8s4I")
_COUNT = struct.Struct("<I")
_MAGIC, _FORMAT = b"MLRFGOLD", 2
_DOUBLE_BYTES, _COLUMN_BYTES = 8, 4
MAX_ROWS = 256
MAX_BYTES = 4 << 20
"""Most memory for the rows in a server; a model with thousands of features has fewer rows."""


class GoldenRows(msgspec.Struct, frozen=True, eq=False):
    """`n` rows [n, F] and their margins [n, K], both flat and row-major; a missing value is NaN."""

    n: int
    rows: array[float]
    margins: array[float]


def n_kept(n_rows: int, n_features: int) -> int:
    """Return the largest number of golden rows in a bundle's `golden.bin`."""
    return min(n_rows, MAX_ROWS, max(1, MAX_BYTES // (_DOUBLE_BYTES * n_features)))


def encode_golden_rows(rows: bytes, margins: bytes, n: int) -> bytes:
    """Return the file for n rows of float64 and their margins, as bytes of whole rows."""
    n_features, n_outputs = (len(part) // (_DOUBLE_BYTES * n) for part in (rows, margins))
    parts = [_HEADER.pack(_MAGIC, _FORMAT, n, n_features, n_outputs)]
    before = array("Q", bytes(_DOUBLE_BYTES * n_features))
    for index in range(n):
        row = array("Q", rows[index * _DOUBLE_BYTES * n_features : (index + 1) * _DOUBLE_BYTES * n_features])
        changed = array("I", (column for column, (old, new) in enumerate(zip(before, row, strict=True)) if old != new))
        # A column takes half as much as a value: if two thirds of the values change, storing all values takes less.
        if 3 * len(changed) >= 2 * n_features:
            parts += [_COUNT.pack(n_features), row.tobytes()]
        else:
            values = array("Q", (row[column] for column in changed))
            parts += [_COUNT.pack(len(changed)), changed.tobytes(), values.tobytes()]
        before = row
    return b"".join([*parts, margins])


def read_golden_rows(path: Path, n_features: int, n_outputs: int) -> GoldenRows:
    """Return the rows in the file for a model of this shape; BundleError if the file is damaged or does not match."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}", file=path.name) from error
    if len(raw) < _HEADER.size:
        raise BundleError(f"{path}: its golden rows are cut short", file=path.name)
    magic, version, n, *shape = _HEADER.unpack_from(raw)
    if magic != _MAGIC or version != _FORMAT:
        raise BundleError(
            f"{path}: contains no golden rows that this version of mlrf can read; build the bundle again",
            file=path.name,
        )
    try:
        if shape != [n_features, n_outputs] or not 1 <= n <= n_kept(n, n_features):
            raise ValueError
        rows, end = _read_rows(raw, n, n_features)
        if len(raw) != end + n * n_outputs * _DOUBLE_BYTES:
            raise ValueError
    except (ValueError, IndexError, struct.error) as error:
        raise BundleError(f"{path}: its golden rows do not match its model", file=path.name) from error
    return GoldenRows(n, rows, array("d", raw[end:]))


def _read_rows(raw: bytes, n: int, n_features: int) -> tuple[array[float], int]:
    """Return n rows and the offset of their end; ValueError, IndexError or struct.error when they are damaged."""
    rows, row, at = array("d"), array("d", bytes(_DOUBLE_BYTES * n_features)), _HEADER.size
    for _ in range(n):
        (count,) = _COUNT.unpack_from(raw, at)
        at += _COUNT.size
        columns = array("I")
        if count < n_features:
            columns.frombytes(raw[at : at + _COLUMN_BYTES * count])
            at += _COLUMN_BYTES * count
        values = array("d", raw[at : at + _DOUBLE_BYTES * count])
        at += _DOUBLE_BYTES * count
        if count > n_features or len(values) != count:
            raise ValueError
        if count == n_features:
            row = values
        else:
            for column, value in zip(columns, values, strict=True):
                row[column] = value
        rows.extend(row)
    return rows, at
