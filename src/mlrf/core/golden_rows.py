"""`golden.bin`: golden rows as plain numbers, which a server replays before it puts a bundle into service.

A part of the rows of `golden.parquet`, with the training library's own margins; a server has nothing that reads Parquet.
Little-endian: magic, format, rows m, features F, outputs K (u32 each), then [m, F] rows and [m, K] margins as float64.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from pathlib import Path

from mlrf.core.errors import BundleError

_HEADER = struct.Struct("<8s4I")
_MAGIC, _FORMAT = b"MLRFGOLD", 1
_DOUBLE_BYTES = 8
MAX_ROWS = 256
MAX_BYTES = 4 << 20
"""Of the rows: a model of thousands of features keeps fewer of them."""


@dataclass(frozen=True, slots=True, eq=False)
class GoldenRows:
    """`n` rows [n, F] and their margins [n, K], both flat and row-major; a missing value is NaN."""

    n: int
    rows: array[float]
    margins: array[float]


def n_kept(n_rows: int, n_features: int) -> int:
    """Return how many of a bundle's golden rows its file for the server holds."""
    return min(n_rows, MAX_ROWS, max(1, MAX_BYTES // (_DOUBLE_BYTES * n_features)))


def encode_golden_rows(rows: bytes, margins: bytes, n: int) -> bytes:
    """Return the file for n rows of float64 and their margins, as bytes of whole rows."""
    n_features, n_outputs = (len(part) // (_DOUBLE_BYTES * n) for part in (rows, margins))
    return _HEADER.pack(_MAGIC, _FORMAT, n, n_features, n_outputs) + rows + margins


def read_golden_rows(path: Path, n_features: int, n_outputs: int) -> GoldenRows:
    """Read the rows of a model of this shape; BundleError when the file holds none."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}", file=path.name) from error
    if len(raw) < _HEADER.size:
        raise BundleError(f"{path}: its golden rows are cut short", file=path.name)
    magic, version, n, *shape = _HEADER.unpack_from(raw)
    if (magic, version) != (_MAGIC, _FORMAT):
        raise BundleError(f"{path}: holds no golden rows that this version reads", file=path.name)
    middle = _HEADER.size + n * n_features * _DOUBLE_BYTES
    if shape != [n_features, n_outputs] or n < 1 or len(raw) != middle + n * n_outputs * _DOUBLE_BYTES:
        raise BundleError(f"{path}: its golden rows do not fit its model", file=path.name)
    return GoldenRows(n, array("d", raw[_HEADER.size : middle]), array("d", raw[middle:]))
