"""Files of rows that choose the game of explanations, such as `background.bin`: the rows of a background.

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


class GameRows(NamedTuple):
    """`n` rows [n, F] as bytes of float64."""

    n: int
    rows: bytes


def encode_game_rows(rows: bytes, n_features: int) -> bytes:
    """Return the file for rows [n, F] of float64."""
    return _HEADER.pack(_MAGIC, _FORMAT, len(rows) // (_DOUBLE_BYTES * n_features), n_features) + rows


def read_game_rows(path: Path, n_features: int, what: str) -> GameRows:
    """Return the rows in the file for a model of this many features; BundleError says what is damaged or does not match."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}", file=path.name) from error
    if len(raw) < _HEADER.size:
        raise BundleError(f"{path}: its {what} is cut short", file=path.name)
    magic, version, n, width = _HEADER.unpack_from(raw)
    if magic != _MAGIC or version != _FORMAT:
        raise BundleError(
            f"{path}: contains no {what} that this version of mlrf can read; build the bundle again", file=path.name
        )
    if not n or width != n_features or len(raw) != _HEADER.size + n * width * _DOUBLE_BYTES:
        raise BundleError(f"{path}: its {what} does not match its model; build the bundle again", file=path.name)
    return GameRows(n, raw[_HEADER.size :])
