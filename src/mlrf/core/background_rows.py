"""`background.bin`: the rows of a background, in whose place a server explains predictions (interventional SHAP values).

Little-endian: magic, format, rows n, features F (u32 each), then [n, F] float64 in schema order; a missing value is NaN.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from mlrf.core.errors import BundleError

_HEADER = struct.Struct("<8s3I")
_MAGIC, _FORMAT = b"MLRFBACK", 1
_DOUBLE_BYTES = 8


class BackgroundRows(NamedTuple):
    """`n` rows [n, F] as bytes of float64."""

    n: int
    rows: bytes


def encode_background(rows: bytes, n_features: int) -> bytes:
    """Return the file for rows [n, F] of float64."""
    return _HEADER.pack(_MAGIC, _FORMAT, len(rows) // (_DOUBLE_BYTES * n_features), n_features) + rows


def read_background(path: Path, n_features: int) -> BackgroundRows:
    """Return the rows in the file for a model of this many features; BundleError if it is damaged or does not match."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}", file=path.name) from error
    if len(raw) < _HEADER.size:
        raise BundleError(f"{path}: its background is cut short", file=path.name)
    magic, version, n, width = _HEADER.unpack_from(raw)
    if magic != _MAGIC or version != _FORMAT:
        raise BundleError(
            f"{path}: contains no background that this version of mlrf can read; build the bundle again", file=path.name
        )
    if not n or width != n_features or len(raw) != _HEADER.size + n * width * _DOUBLE_BYTES:
        raise BundleError(f"{path}: its background does not match its model; build the bundle again", file=path.name)
    return BackgroundRows(n, raw[_HEADER.size :])
