"""The byte format of rows: the value that every store has for a key, which is read in a microsecond.

    8 bytes   1 byte format, 1 byte flags, 6 bytes of the digest of schema and key
    8 bytes   as-of time in microseconds since 1970, little-endian; the smallest number where it is unknown
    8F bytes  the values in schema order, float64 little-endian, missing as NaN, categories as codes
    F/8 bytes only if a flag is set: one bit per feature that is absent from the row, which is not the same as missing

The values have the layout of the tree engine's input, so that a row is predicted from the bytes themselves. `unpack` refuses
bytes that `pack` does not write for valid values, so that readers of a store get valid rows only, whatever wrote them.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from mlrf.core.bundle import Bundle
from mlrf.core.category_hash import HASHED_CODE
from mlrf.core.column_rules import ColumnRules, rule_by_value
from mlrf.core.errors import BundleError, InvalidStoredRowError
from mlrf.core.manifest import MANIFEST
from mlrf.core.schema import Schema
from mlrf.core.value_text import clip, shown_name
from mlrf.features.as_of import MAX_AS_OF_US, MIN_AS_OF_US
from mlrf.features.entity_key import EntityKey, entity_key
from mlrf.features.interface import Key, StoredRow

FORMAT = 1
NO_TIME = -(1 << 63)
"""Stored in place of an unknown as-of time."""
HEAD_BYTES = 16
_PREFIX_BYTES = 8
_PARTIAL = 1
ROW_DIGEST_BYTES = 16
_as_of_from = struct.Struct("<q").unpack_from


class RowFormat:
    """The row format of one schema and key. Two formats with the same `digest` read each other's rows."""

    __slots__ = ("_hashed_codes", "_row_bytes", "_rules", "_values", "digest", "key", "prefix", "schema")

    def __init__(self, schema: Schema, key: EntityKey) -> None:
        features = [[f.name, f.kind, f.categories, f.nullable] for f in schema.features]
        described = msgspec.json.encode([FORMAT, features, [[f.name, f.type] for f in key.fields]])
        digest = hashlib.sha256(described).digest()
        self.schema: Final = schema
        self.key: Final = key
        self.digest: Final = digest.hex()
        """sha256 in hex of what rows depend on: names, kinds and categories of features, names and types of key fields."""
        self.prefix: Final = bytes((FORMAT, 0)) + digest[: _PREFIX_BYTES - 2]
        """Prefix of the bytes of every complete row."""
        self._row_bytes: Final = HEAD_BYTES + 8 * len(schema.features)
        self._values: Final = struct.Struct(f"<8sq{len(schema.features)}d")
        self._rules: Final = ColumnRules(map(rule_by_value, schema.features))
        self._hashed_codes: Final = tuple(_hashed_codes(schema))
        """For each feature with known hashes: its index, and the codes of its unlisted categories."""

    @property
    def max_row_bytes(self) -> int:
        """The length of the longest row: one with absent features."""
        return self._row_bytes + (len(self.schema.features) + 7) // 8

    def pack(self, values: Sequence[float], as_of_us: int | None = None, absent: Sequence[int] = ()) -> bytes:
        """Return the bytes of a row from F values and the indices of absent features (whose values are NaN)."""
        time = NO_TIME if as_of_us is None else as_of_us
        if not absent:
            return self._values.pack(self.prefix, time, *values)
        bits = sum(1 << index for index in absent)
        prefix = bytes((FORMAT, _PARTIAL)) + self.prefix[2:]
        return self._values.pack(prefix, time, *values) + bits.to_bytes((len(values) + 7) // 8, "little")

    def unpack(self, key: Key, record: bytes, transaction: int) -> StoredRow:
        """Return the row of a key from its bytes; InvalidStoredRowError when they are not a valid row of this format."""
        if record[:_PREFIX_BYTES] != self.prefix or len(record) != self._row_bytes:
            return self._unpack_partial(key, record, transaction)
        time = _as_of_from(record, _PREFIX_BYTES)[0]
        values = memoryview(record)[HEAD_BYTES:].cast("d")
        outside = self._rules.first_outside(values)
        if outside is None and self._hashed_codes:
            outside = self._unknown_hash(values)
        if outside is not None:
            raise self._outside(key, outside, values[outside])
        return StoredRow(record, values, self._as_of_us(key, time), (), transaction)

    def invalid(self, key: Key, reason: str) -> InvalidStoredRowError:
        """Return the error for stored bytes that are not a valid row."""
        try:
            fields = self.key.decode(key)
        except ValueError:
            # Probes look up bytes that are not a key.
            fields = {}
        return InvalidStoredRowError(
            f"what is stored under the key {clip(msgspec.json.encode(fields).decode())} is not a valid row: {reason}; "
            "push the row again, and check which other programs write to the store",
            key=fields,
        )

    def _unpack_partial(self, key: Key, record: bytes, transaction: int) -> StoredRow:
        n_features = len(self.schema.features)
        is_own = record[:2] == bytes((FORMAT, _PARTIAL)) and record[2:_PREFIX_BYTES] == self.prefix[2:]
        if not is_own or len(record) != self._row_bytes + (n_features + 7) // 8:
            raise self.invalid(key, "the bytes are not a row of this model's schema and key")
        bits = int.from_bytes(record[self._row_bytes :], "little")
        if bits >> n_features:
            raise self.invalid(key, "it marks features as absent that the model does not have")
        absent = tuple(index for index in range(n_features) if bits >> index & 1)
        time = _as_of_from(record, _PREFIX_BYTES)[0]
        values = memoryview(record)[HEAD_BYTES : self._row_bytes].cast("d")
        outside = self._unknown_hash(values)
        for index, rule in enumerate(self._rules.rules):
            value = values[index]
            if not (math.isnan(value) if index in absent else rule.admits(value)):
                outside = index
        if outside is not None:
            raise self._outside(key, outside, values[outside])
        return StoredRow(record, values, self._as_of_us(key, time), absent, transaction)

    def _as_of_us(self, key: Key, time: int) -> int | None:
        if time == NO_TIME:
            return None
        if not MIN_AS_OF_US <= time <= MAX_AS_OF_US:
            raise self.invalid(key, "its as-of time is outside the years 1 to 9999")
        return time

    def _unknown_hash(self, values: memoryview[float]) -> int | None:
        for index, codes in self._hashed_codes:
            if values[index] >= HASHED_CODE and values[index] not in codes:
                return index
        return None

    def _outside(self, key: Key, index: int, value: float) -> InvalidStoredRowError:
        return self.invalid(key, f"{value:g} is not a value of the feature {shown_name(self.schema.names[index])}")


def _hashed_codes(schema: Schema) -> Iterator[tuple[int, frozenset[float]]]:
    for index, feature in enumerate(schema.features):
        if feature.hashing is not None and not feature.hashing.is_open:
            yield index, frozenset(HASHED_CODE + hashed for hashed in feature.hashing.known)


def row_format(bundle: Bundle) -> RowFormat | None:
    """Return the format of a bundle's stored rows; None if it is not served by key, BundleError for an invalid key."""
    rows = bundle.manifest.rows
    if rows is None:
        return None
    try:
        return RowFormat(bundle.schema, entity_key([(f.name, f.type) for f in rows.key]))
    except ValueError as error:
        raise BundleError(f"{bundle.path}: the manifest's key is invalid: {error}", file=MANIFEST) from error


def as_of_us_of(record: bytes) -> int:
    """Return the as-of time in a row's bytes; `NO_TIME` if it is unknown or the bytes are not a row."""
    if len(record) < HEAD_BYTES:
        return NO_TIME
    time: int = _as_of_from(record, _PREFIX_BYTES)[0]
    return time if MIN_AS_OF_US <= time <= MAX_AS_OF_US else NO_TIME


def row_digest(record: bytes) -> bytes:
    """Return a 16-byte digest of a row's values without its as-of time; stored explanations are bound to it."""
    return hashlib.blake2b(record[HEAD_BYTES:], digest_size=ROW_DIGEST_BYTES).digest()
