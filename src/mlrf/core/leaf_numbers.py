"""`leaves.bin`: the training library's own number of each leaf of the forest file.

Little-endian: magic, format, number of trees t, number of leaves n (u32 each), then t trees and n numbers (u32 each).
The trees are those that the library has leaf numbers for; a number stands for each leaf value of the forest file, in its order.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import NamedTuple

from mlrf.core.errors import BundleError

_HEADER = struct.Struct("<8s3I")
_MAGIC, _FORMAT = b"MLRFLEAF", 1
_NUMBER_BYTES = 4


class LeafNumbers(NamedTuple):
    """Trees [t] and the numbers of all leaves [n], as bytes of u32."""

    trees: memoryview
    numbers: memoryview


def encode_leaf_numbers(trees: bytes, numbers: bytes) -> bytes:
    """Return the file for trees and numbers, as bytes of u32."""
    counts = (len(part) // _NUMBER_BYTES for part in (trees, numbers))
    return _HEADER.pack(_MAGIC, _FORMAT, *counts) + trees + numbers


def read_leaf_numbers(path: Path) -> LeafNumbers:
    """Map the file; BundleError when it holds no leaf numbers."""
    try:
        with path.open("rb") as file:
            content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read: {error}", file=path.name) from error
    if len(content) < _HEADER.size:
        raise BundleError(f"{path}: its leaf numbers are cut short", file=path.name)
    magic, version, n_trees, n_leaves = _HEADER.unpack_from(content)
    if magic != _MAGIC or version != _FORMAT:
        raise BundleError(
            f"{path}: contains no leaf numbers that this version of mlrf can read; build the bundle again",
            file=path.name,
        )
    middle = _HEADER.size + _NUMBER_BYTES * n_trees
    if len(content) != middle + _NUMBER_BYTES * n_leaves:
        raise BundleError(f"{path}: its leaf numbers do not have the length that it states", file=path.name)
    return LeafNumbers(content[_HEADER.size : middle], content[middle:])
