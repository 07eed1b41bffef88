"""Keys of stored rows: one or several typed fields, and their canonical encoding as bytes.

The bytes do not depend on the order in which the fields are given, and they sort as the values do: integers and dates as
big-endian numbers, strings as UTF-8 with a terminator that no string can hold. LMDB sorts its keys, so neighbours are stored
together.
"""

from __future__ import annotations

import datetime as dt
import struct
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from mlrf.core.errors import InvalidKeyError
from mlrf.core.repeated_names import first_repeated
from mlrf.core.value_text import clip, shown, shown_name

MAX_KEY_BYTES = 511
"""LMDB's limit; every store refuses a longer key."""
KeyValue = str | int | bool
"""The JSON values of a field; a date is the string `YYYY-MM-DD`."""

_INTEGER = struct.Struct(">Q")
_DATE = struct.Struct(">I")
_SIGN = 1 << 63
_MAX_EXACT = (1 << 53) - 1
_MIN_INTEGER, _MAX_INTEGER = -_SIGN, _SIGN - 1
_ISO_DATE_CHARS = 10
_END = b"\x00\x00"
_NUL, _ESCAPED_NUL = b"\x00", b"\x00\xff"


class KeyType(StrEnum):
    """Type of a key field."""

    STRING = "string"
    INTEGER = "integer"
    DATE = "date"
    BOOLEAN = "boolean"


class KeyField(msgspec.Struct, frozen=True):
    """One field of a key."""

    name: str
    type: KeyType

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a key's field needs a name")


class EntityKey:
    """The fields of a key, sorted by name; ValueError if there are none or two share a name."""

    __slots__ = ("_encoders", "fields")

    def __init__(self, fields: tuple[KeyField, ...]) -> None:
        names = [f.name for f in fields]
        if not names:
            raise ValueError("a key needs at least one field")
        if (twice := first_repeated(names)) is not None:
            raise ValueError(f"two fields of the key are named {twice!r}")
        self.fields: Final = tuple(sorted(fields, key=lambda f: f.name))
        self._encoders: Final = tuple((f.name, _ENCODERS[f.type]) for f in self.fields)

    def __eq__(self, other: object) -> bool:
        return self.fields == other.fields if isinstance(other, EntityKey) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fields)

    @property
    def names(self) -> tuple[str, ...]:
        """The fields' names, in the order of the encoding."""
        return tuple(f.name for f in self.fields)

    def encode(self, values: Mapping[str, Any]) -> bytes:
        """Return the canonical bytes of a key given by field; InvalidKeyError names the field, the value and the remedy."""
        try:
            raw = b"".join([encode(values[name]) for name, encode in self._encoders])
        except (KeyError, TypeError, ValueError, struct.error):
            raise self._refusal(values) from None
        if len(values) != len(self._encoders) or len(raw) > MAX_KEY_BYTES:
            raise self._refusal(values)
        return raw

    def decode(self, raw: bytes) -> dict[str, KeyValue]:
        """Return the fields and values of a key's bytes; ValueError when they are not from `encode`."""
        values: dict[str, KeyValue] = {}
        offset = 0
        try:
            for each in self.fields:
                values[each.name], offset = _DECODERS[each.type](raw, offset)
        except (struct.error, IndexError, UnicodeDecodeError, OverflowError) as error:
            raise ValueError("the bytes are not a key of these fields") from error
        if offset != len(raw):
            raise ValueError("more bytes than a key of these fields has")
        return values

    def contract(self) -> str:
        """Return the fields and their types, for use in a sentence."""
        return ", ".join(f"{shown_name(f.name)}: {_EXPECTED[f.type]}" for f in self.fields)

    def _refusal(self, values: Mapping[str, Any]) -> InvalidKeyError:
        """Return the error for a key that could not be encoded."""
        for each in self.fields:
            if each.name not in values:
                return InvalidKeyError(
                    f"the key lacks the field {shown_name(each.name)}; send all of {self.contract()}",
                    field=each.name,
                    missing=[name for name in self.names if name not in values],
                )
        known = set(self.names)
        if unknown := [str(name) for name in values if name not in known]:
            return InvalidKeyError(
                f"the key has no field {shown_name(unknown[0])} in this model; its fields are {self.contract()}",
                field=clip(unknown[0]),
                unknown=[clip(name) for name in unknown[:20]],
            )
        for each in self.fields:
            value = values[each.name]
            try:
                _ENCODERS[each.type](value)
            except (TypeError, ValueError, struct.error):
                return InvalidKeyError(
                    f"key field {shown_name(each.name)}: expected {_EXPECTED[each.type]}, got {shown(value)}"
                    f"{_hint(each.type, value)}",
                    field=each.name,
                    value=value if isinstance(value, bool | None) else clip(str(value)),
                    expected=_EXPECTED[each.type],
                )
        return InvalidKeyError(
            f"the key is longer than {MAX_KEY_BYTES} bytes; shorten its strings",
            max_bytes=MAX_KEY_BYTES,
        )


def encode_value(kind: KeyType, value: Any) -> bytes:
    """Return the encoding of one value; ValueError if it is not of the type."""
    try:
        return _ENCODERS[kind](value)
    except (TypeError, ValueError, struct.error) as error:
        raise ValueError(f"not {_EXPECTED[kind]}") from error


def expected_of(kind: KeyType) -> str:
    """Return a description of a field type, for use in a sentence."""
    return _EXPECTED[kind]


def entity_key(described: Sequence[tuple[str, str]]) -> EntityKey:
    """Return the key with fields given by name and type; ValueError for an unknown type."""
    return EntityKey(tuple(KeyField(name, KeyType(kind)) for name, kind in described))


_EXPECTED = {
    KeyType.STRING: "a string",
    KeyType.INTEGER: "an integer within 64 bits",
    KeyType.DATE: "a date YYYY-MM-DD",
    KeyType.BOOLEAN: "true or false",
}


def _hint(kind: KeyType, value: Any) -> str:
    if value is None:
        return "; a field of a key cannot be missing"
    if kind is KeyType.STRING and isinstance(value, int | float):
        return "; a number is not a string, even if it has the same digits: send it in quotes"
    if kind is KeyType.INTEGER and isinstance(value, float) and value.is_integer():
        return "; above 2^53 a number with a decimal point or an exponent is not exact: send all digits"
    if kind is KeyType.INTEGER and isinstance(value, str):
        return "; a string of digits is not an integer: send it without quotes"
    return ""


def _encode_string(value: Any) -> bytes:
    if type(value) is not str:
        raise TypeError
    raw = value.encode()
    if _NUL in raw:
        raw = raw.replace(_NUL, _ESCAPED_NUL)
    return raw + _END


def _encode_integer(value: Any) -> bytes:
    if type(value) is not int:
        # JSON has one type of number, so 54.0 is 54. Beyond 2**53 several integers have the same float, so the value is
        # unknown.
        if type(value) is not float or not value.is_integer() or abs(value) > _MAX_EXACT:
            raise TypeError
        value = int(value)
    return _INTEGER.pack(value + _SIGN)


def _encode_date(value: Any) -> bytes:
    if type(value) is str:
        # fromisoformat also accepts weeks, and dates without dashes.
        if len(value) != _ISO_DATE_CHARS or value[4] != "-" or value[7] != "-":
            raise ValueError
        value = dt.date.fromisoformat(value)
    elif type(value) is not dt.date:
        raise TypeError
    return _DATE.pack(value.toordinal())


def _encode_boolean(value: Any) -> bytes:
    if value is True:
        return b"\x01"
    if value is False:
        return b"\x00"
    raise TypeError


_ENCODERS: dict[KeyType, Callable[[Any], bytes]] = {
    KeyType.STRING: _encode_string,
    KeyType.INTEGER: _encode_integer,
    KeyType.DATE: _encode_date,
    KeyType.BOOLEAN: _encode_boolean,
}


def _decode_string(raw: bytes, offset: int) -> tuple[KeyValue, int]:
    end = offset
    while True:
        end = raw.find(_NUL, end)
        follows = raw[end : end + 2]
        if follows == _END:
            return raw[offset:end].replace(_ESCAPED_NUL, _NUL).decode(), end + len(_END)
        if follows != _ESCAPED_NUL:
            raise IndexError
        end += len(_ESCAPED_NUL)


def _decode_integer(raw: bytes, offset: int) -> tuple[KeyValue, int]:
    return _INTEGER.unpack_from(raw, offset)[0] - _SIGN, offset + _INTEGER.size


def _decode_date(raw: bytes, offset: int) -> tuple[KeyValue, int]:
    return dt.date.fromordinal(_DATE.unpack_from(raw, offset)[0]).isoformat(), offset + _DATE.size


def _decode_boolean(raw: bytes, offset: int) -> tuple[KeyValue, int]:
    return raw[offset] == 1, offset + 1


_DECODERS: dict[KeyType, Callable[[bytes, int], tuple[KeyValue, int]]] = {
    KeyType.STRING: _decode_string,
    KeyType.INTEGER: _decode_integer,
    KeyType.DATE: _decode_date,
    KeyType.BOOLEAN: _decode_boolean,
}
