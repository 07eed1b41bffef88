"""Columns of an Arrow stream: their types, and their values as numbers or as values of categories.

It reads numbers, booleans, strings (also large strings and views), nulls, and dictionaries of these, and refuses other types by
name. Of a dictionary it reads only the values that rows use.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import Any

from mlrf.core.errors import InvalidRequestError
from mlrf.core.flatbuffers import Table
from mlrf.core.value_text import clip, shown_name
from mlrf.serving.arrow.stream import malformed

Buffers = Sequence[memoryview]
_VIEW_BYTES, _INLINE_BYTES = 16, 12
_FLOAT_CODES = ("e", "f", "d")
_INTEGER_CODES = {
    (8 << width, signed): code
    for signed, codes in ((True, "bhiq"), (False, "BHIQ"))
    for width, code in enumerate(codes)
}
_TYPE_NAMES = (
    "none", "null", "int", "floating point", "binary", "string", "bool", "decimal", "date", "time", "timestamp", "interval",
    "list", "struct", "union", "fixed-size binary", "fixed-size list", "map", "duration", "large binary", "large string",
    "large list", "run-end encoded", "binary view", "string view", "list view", "large list view",
)  # fmt: skip


class TypeId(IntEnum):
    """The types that are read, with their numbers in the format."""

    NULL = 1
    INT = 2
    FLOAT = 3
    STRING = 5
    BOOL = 6
    LARGE_STRING = 20
    STRING_VIEW = 24


class FieldField(IntEnum):
    """Fields of a Field table."""

    NAME = 0
    TYPE_ID = 2
    TYPE = 3
    DICTIONARY = 4
    CHILDREN = 5


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the schema; with a `dictionary`, its values index the dictionary of that number."""

    name: str
    type_id: int
    code: str = ""
    """For numbers, the name of their type in `struct` and `array`."""
    dictionary: int | None = None
    values: Column | None = None
    """The column that a dictionary's values form."""

    n_buffers: int = field(init=False)
    """How many buffers it has in a record batch, without the variadic buffers of views."""
    is_number: bool = field(init=False)
    """Whether its values are numbers or booleans that are not in a dictionary."""

    def __post_init__(self) -> None:
        is_text = self.type_id in (TypeId.STRING, TypeId.LARGE_STRING)
        object.__setattr__(self, "n_buffers", 0 if self.type_id == TypeId.NULL else 3 if is_text else 2)
        is_number = self.dictionary is None and self.type_id in (TypeId.INT, TypeId.FLOAT, TypeId.BOOL)
        object.__setattr__(self, "is_number", is_number)


@dataclass(frozen=True, slots=True)
class Dictionary:
    """The values of a dictionary, by index, and the codes that features have for them."""

    read: Callable[[int], Any]
    """Returns the value at an index, None for a missing one; MalformedRequestError if the dictionary has no such index."""
    codes: dict[int, dict[Any, float]] = field(default_factory=dict)
    """By feature, the code of each index that rows have used so far."""


def read_column(described: Table) -> Column:
    """Return a column of the schema; InvalidRequestError names a column whose type is not supported."""
    name = described.text(FieldField.NAME)
    type_id = described.number(FieldField.TYPE_ID, "B", 0)
    kind = described.table(FieldField.TYPE)
    code = ""
    if type_id == TypeId.INT and kind is not None:
        code = _INTEGER_CODES.get((kind.number(0, "i", 0), bool(kind.number(1, "B", 0))), "")
    elif type_id == TypeId.FLOAT and kind is not None:
        precision = kind.number(0, "h", 0)
        code = _FLOAT_CODES[precision] if 0 <= precision < len(_FLOAT_CODES) else ""
    is_known = type_id in TypeId.__members__.values() and (code or type_id not in (TypeId.INT, TypeId.FLOAT))
    if not is_known or described.count(FieldField.CHILDREN):
        type_name = _TYPE_NAMES[type_id] if type_id < len(_TYPE_NAMES) else f"number {type_id}"
        raise InvalidRequestError(
            f"the column {shown_name(name)} is of the Arrow type {type_name}; send numbers, booleans, strings, or dictionaries "
            "of them",
            field=clip(name),
        )
    own = Column(name, type_id, code)
    encoding = described.table(FieldField.DICTIONARY)
    if encoding is None:
        return own
    index = encoding.table(1)
    bits, signed = (32, True) if index is None else (index.number(0, "i", 0), bool(index.number(1, "B", 0)))
    index_code = _INTEGER_CODES.get((bits, signed))
    if index_code is None:
        raise malformed(f"the indices of the dictionary of column {shown_name(name)} are not integers")
    return Column(name, TypeId.INT, index_code, encoding.number(0, "q", 0), own)


def numbers(column: Column, n: int, is_lacking: bool, buffers: Buffers) -> array[float]:
    """Return n numbers or booleans as float64, missing as NaN; MalformedRequestError if the buffers are too short."""
    if column.type_id == TypeId.BOOL:
        doubles = array("d", _bits(buffers[1], n, column.name))
    else:
        doubles = _raw(column, n, buffers[1])
        if doubles.typecode != "d":
            doubles = array("d", doubles)
    if is_lacking:
        for row in missing_rows(buffers[0], n, column.name):
            doubles[row] = math.nan
    return doubles


def keys(
    column: Column, n: int, is_lacking: bool, buffers: Buffers, dictionary: Dictionary | None
) -> tuple[list[Any], Callable[[Any], Any]]:
    """Return n keys of values, None for missing ones, and a function from a key to its value.

    Equal values mostly have equal keys, so that a value is decoded once for all rows with its key. Keys of values in a
    dictionary are their indices.
    """
    if column.type_id == TypeId.NULL:
        return [None] * n, _same
    read: Callable[[Any], Any] = _same
    if dictionary is not None:
        found, read = _raw(column, n, buffers[1]).tolist(), dictionary.read
    elif column.type_id == TypeId.BOOL:
        found, read = _bits(buffers[1], n, column.name), bool
    elif column.type_id in (TypeId.STRING, TypeId.LARGE_STRING):
        found, read = _slices(column, n, buffers), partial(_text, name=column.name)
    elif column.type_id == TypeId.STRING_VIEW:
        found, read = _view_keys(column, n, buffers[1]), _text_of_view(column, buffers[2:])
    else:
        found = [None if math.isnan(number) else number for number in _raw(column, n, buffers[1])]
    if is_lacking:
        for row in missing_rows(buffers[0], n, column.name):
            found[row] = None
    return found, read


def value_reader(column: Column, n: int, buffers: Buffers) -> Callable[[int], Any]:
    """Return a function that returns the value of one of n rows, whether or not it is marked as missing."""
    match column.type_id:
        case TypeId.NULL:
            return lambda _row: None
        case TypeId.BOOL:
            bits = buffers[1]
            if 8 * len(bits) < n:
                raise _short(column.name)
            return lambda row: bool(bits[row >> 3] >> (row & 7) & 1)
        case TypeId.STRING_VIEW:
            return _views(column, n, buffers)
        case TypeId.STRING | TypeId.LARGE_STRING:
            return _strings(column, n, buffers)
    raw = _raw(column, n, buffers[1])
    return lambda row: None if raw[row] != raw[row] else raw[row]  # NaN alone


def missing_rows(validity: memoryview, n: int, name: str) -> list[int]:
    """Return the rows of n whose value is missing."""
    if 8 * len(validity) < n:
        raise _short(name)
    return [row for row in range(n) if not validity[row >> 3] >> (row & 7) & 1]


def _raw(column: Column, n: int, data: memoryview) -> array[Any]:
    if column.code == "e":
        size_bytes = 2 * n
        if len(data) < size_bytes:
            raise _short(column.name)
        return array("d", struct.unpack_from(f"<{n}e", data))
    found: array[Any] = array(column.code)
    size_bytes = n * found.itemsize
    if len(data) < size_bytes:
        raise _short(column.name)
    found.frombytes(data[:size_bytes])
    return found


def _bits(data: memoryview, n: int, name: str) -> list[int]:
    if 8 * len(data) < n:
        raise _short(name)
    return [data[row >> 3] >> (row & 7) & 1 for row in range(n)]


def _strings(column: Column, n: int, buffers: Buffers) -> Callable[[int], str]:
    code, width = ("<ii", 4) if column.type_id == TypeId.STRING else ("<qq", 8)
    offsets, data = buffers[1], buffers[2]
    if n and len(offsets) < (n + 1) * width:
        raise _short(column.name)

    def read(row: int) -> str:
        first, last = struct.unpack_from(code, offsets, row * width)
        if not 0 <= first <= last <= len(data):
            raise _short(column.name)
        return _text(data[first:last], column.name)

    return read


def _slices(column: Column, n: int, buffers: Buffers) -> list[bytes]:
    """Return the bytes of n strings."""
    offsets = array("i" if column.type_id == TypeId.STRING else "q")
    size_bytes = (n + 1) * offsets.itemsize if n else 0
    if len(buffers[1]) < size_bytes:
        raise _short(column.name)
    offsets.frombytes(buffers[1][:size_bytes])
    data, lasts = bytes(buffers[2]), offsets[1:]
    is_sorted = all(first <= last for first, last in zip(offsets, lasts, strict=False))
    if not is_sorted or (n and not 0 <= offsets[0] <= lasts[-1] <= len(data)):
        raise _short(column.name)
    return [data[first:last] for first, last in zip(offsets, lasts, strict=False)]


def _same(key: Any) -> Any:
    return key


def _views(column: Column, n: int, buffers: Buffers) -> Callable[[int], str]:
    views, text_of = buffers[1], _text_of_view(column, buffers[2:])
    if len(views) < n * _VIEW_BYTES:
        raise _short(column.name)
    return lambda row: text_of(bytes(views[row * _VIEW_BYTES : (row + 1) * _VIEW_BYTES]))


def _view_keys(column: Column, n: int, views: memoryview) -> list[bytes]:
    """Return n views undecoded: the string of a view is decoded once, however many rows share it."""
    if len(views) < n * _VIEW_BYTES:
        raise _short(column.name)
    packed = bytes(views[: n * _VIEW_BYTES])
    return [packed[at : at + _VIEW_BYTES] for at in range(0, len(packed), _VIEW_BYTES)]


def _text_of_view(column: Column, data: Buffers) -> Callable[[bytes], str]:
    def read(view: bytes) -> str:
        (length,) = struct.unpack_from("<i", view)
        if 0 <= length <= _INLINE_BYTES:
            return _text(view[4 : 4 + length], column.name)
        which, first = struct.unpack_from("<ii", view, 8)
        if length < 0 or not 0 <= which < len(data) or not 0 <= first <= len(data[which]) - length:
            raise _short(column.name)
        return _text(data[which][first : first + length], column.name)

    return read


def _text(data: bytes | memoryview, name: str) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise malformed(f"the column {shown_name(name)} holds a string that is not UTF-8") from error


def _short(name: str) -> Exception:
    return malformed(f"the column {shown_name(name)} has fewer bytes than its rows need")
