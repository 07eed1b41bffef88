"""A row as bytes: what every store keeps under a key, and how a worker reads it back in a microsecond.

    8 bytes   1 byte format, 1 byte flags, 6 bytes of the digest of schema and key
    8 bytes   as-of time in microseconds since 1970, little-endian; the smallest number where it is unknown
    8F bytes  the values in schema order, float64 little-endian, missing as NaN, categories as codes
    F/8 bytes only where a flag says so: a bit a feature that the row does not hold, which is not the same as missing

The values lie as the tree engine takes them, so that a row is answered from the bytes themselves.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from mlrf.core.bundle import MANIFEST, Bundle
from mlrf.core.errors import BundleError
from mlrf.core.schema import Schema
from mlrf.features.entity_key import EntityKey, entity_key
from mlrf.features.interface import StoredRow

FORMAT = 1
NO_TIME = -(1 << 63)
"""In the place of an as-of time that is unknown."""
HEAD_BYTES = 16
_PREFIX_BYTES = 8
_PARTIAL = 1
ROW_DIGEST_BYTES = 16
_as_of_from = struct.Struct("<q").unpack_from


class ForeignRowError(ValueError):
    """The bytes are no row of this schema and key: of another model, another format, or damaged."""


@dataclass(frozen=True, slots=True)
class RowFormat:
    """The rows of one schema, found by one key. Two formats with the same `digest` read each other's rows."""

    schema: Schema
    key: EntityKey
    digest: str = field(init=False)
    """sha256 in hex of what rows depend on: names, kinds and categories of features, names and types of key fields."""
    prefix: bytes = field(init=False, repr=False)
    """What the bytes of every whole row begin with."""
    _row_bytes: int = field(init=False, repr=False)
    _values: struct.Struct = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        features = [[f.name, f.kind, f.categories, f.nullable] for f in self.schema.features]
        described = msgspec.json.encode([FORMAT, features, [[f.name, f.type] for f in self.key.fields]])
        digest = hashlib.sha256(described).digest()
        object.__setattr__(self, "digest", digest.hex())
        object.__setattr__(self, "prefix", bytes((FORMAT, 0)) + digest[: _PREFIX_BYTES - 2])
        object.__setattr__(self, "_row_bytes", HEAD_BYTES + 8 * len(self.schema.features))
        object.__setattr__(self, "_values", struct.Struct(f"<8sq{len(self.schema.features)}d"))

    def pack(self, values: Sequence[float], as_of_us: int | None = None, absent: Sequence[int] = ()) -> bytes:
        """Return the bytes of a row: F values, and which of them it does not hold (NaN then)."""
        time = NO_TIME if as_of_us is None else as_of_us
        if not absent:
            return self._values.pack(self.prefix, time, *values)
        bits = sum(1 << index for index in absent)
        prefix = bytes((FORMAT, _PARTIAL)) + self.prefix[2:]
        return self._values.pack(prefix, time, *values) + bits.to_bytes((len(values) + 7) // 8, "little")

    def unpack(self, record: bytes, transaction: int) -> StoredRow:
        """Return the row of its bytes; ForeignRowError when they are none of this format."""
        if record[:_PREFIX_BYTES] != self.prefix or len(record) != self._row_bytes:
            return self._unpack_partial(record, transaction)
        time = _as_of_from(record, _PREFIX_BYTES)[0]
        values = memoryview(record)[HEAD_BYTES:].cast("d")
        return StoredRow(record, values, None if time == NO_TIME else time, (), transaction)

    def _unpack_partial(self, record: bytes, transaction: int) -> StoredRow:
        n_features = len(self.schema.features)
        is_ours = record[:2] == bytes((FORMAT, _PARTIAL)) and record[2:_PREFIX_BYTES] == self.prefix[2:]
        if not is_ours or len(record) != self._row_bytes + (n_features + 7) // 8:
            raise ForeignRowError("the stored bytes are no row of this model's schema and key")
        bits = int.from_bytes(record[self._row_bytes :], "little")
        absent = tuple(index for index in range(n_features) if bits >> index & 1)
        time = _as_of_from(record, _PREFIX_BYTES)[0]
        values = memoryview(record)[HEAD_BYTES : self._row_bytes].cast("d")
        return StoredRow(record, values, None if time == NO_TIME else time, absent, transaction)


def row_format(bundle: Bundle) -> RowFormat | None:
    """Return the format of the rows that a bundle is asked by key with; None where it is not, BundleError for no such key."""
    rows = bundle.manifest.rows
    if rows is None:
        return None
    try:
        return RowFormat(bundle.schema, entity_key([(f.name, f.type) for f in rows.key]))
    except ValueError as error:
        raise BundleError(f"{bundle.path}: the manifest's key is none: {error}", file=MANIFEST) from error


def as_of_us_of(record: bytes) -> int:
    """Return when the row of some bytes was true; `NO_TIME` where that is unknown."""
    time: int = _as_of_from(record, _PREFIX_BYTES)[0]
    return time


def row_digest(record: bytes) -> bytes:
    """Return 16 bytes that stand for the values of a row, whenever it was true: what a stored explanation is bound to."""
    return hashlib.blake2b(record[HEAD_BYTES:], digest_size=ROW_DIGEST_BYTES).digest()
