"""Columns of an Arrow stream: their types, and their values as numbers or as values of categories.

Numbers, booleans, strings (also large ones and views), nulls, and dictionaries of those are read; other types are refused by
name. Of a dictionary only the values that rows use are read.
"""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
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
    """Types that are read, by their numbers in the format."""

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
    """Of numbers, as `struct` and `array` name their type."""
    dictionary: int | None = None
    values: Column | None = None
    """The column that a dictionary's values form."""

    @property
    def n_buffers(self) -> int:
        """How many buffers it has in a record batch, beside those of views."""
        if self.type_id == TypeId.NULL:
            return 0
        return 3 if self.type_id in (TypeId.STRING, TypeId.LARGE_STRING) else 2

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers or booleans of its own, not of a dictionary."""
        return self.dictionary is None and self.type_id in (TypeId.INT, TypeId.FLOAT, TypeId.BOOL)


def read_column(field: Table) -> Column:
    """Return a column of the schema; InvalidRequestError names one of a type that is not read."""
    name = field.text(FieldField.NAME)
    type_id = field.number(FieldField.TYPE_ID, "B", 0)
    kind = field.table(FieldField.TYPE)
    code = ""
    if type_id == TypeId.INT and kind is not None:
        code = _INTEGER_CODES.get((kind.number(0, "i", 0), bool(kind.number(1, "B", 0))), "")
    elif type_id == TypeId.FLOAT and kind is not None:
        precision = kind.number(0, "h", 0)
        code = _FLOAT_CODES[precision] if 0 <= precision < len(_FLOAT_CODES) else ""
    is_known = type_id in TypeId.__members__.values() and (code or type_id not in (TypeId.INT, TypeId.FLOAT))
    if not is_known or field.count(FieldField.CHILDREN):
        type_name = _TYPE_NAMES[type_id] if type_id < len(_TYPE_NAMES) else f"number {type_id}"
        raise InvalidRequestError(
            f"the column {shown_name(name)} is of the Arrow type {type_name}; send numbers, booleans, strings, or dictionaries "
            "of them",
            field=clip(name),
        )
    own = Column(name, type_id, code)
    encoding = field.table(FieldField.DICTIONARY)
    if encoding is None:
        return own
    index = encoding.table(1)
    bits, signed = (32, True) if index is None else (index.number(0, "i", 0), bool(index.number(1, "B", 0)))
    index_code = _INTEGER_CODES.get((bits, signed))
    if index_code is None:
        raise malformed(f"the indices of the dictionary of column {shown_name(name)} are no integers")
    return Column(name, TypeId.INT, index_code, encoding.number(0, "q", 0), own)


def numbers(column: Column, n: int, is_lacking: bool, buffers: Buffers) -> array[float]:
    """Return n numbers or booleans as float64, missing as NaN; MalformedRequestError where the buffers are too short."""
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


def values(
    column: Column, n: int, is_lacking: bool, buffers: Buffers, dictionary: Callable[[int], Any] | None
) -> list[Any]:
    """Return n values: numbers, booleans, strings, or what `dictionary` has at an index; missing as None."""
    if column.type_id == TypeId.NULL:
        return [None] * n
    gone = frozenset(missing_rows(buffers[0], n, column.name)) if is_lacking else frozenset()
    value: Callable[[int], Any]
    if dictionary is not None:
        indices = _raw(column, n, buffers[1])
        value = lambda row: dictionary(int(indices[row]))  # noqa: E731
    else:
        value = value_reader(column, n, buffers)
    return [None if row in gone else value(row) for row in range(n)]


def value_reader(column: Column, n: int, buffers: Buffers) -> Callable[[int], Any]:
    """Return what reads the value of a row of n, whose validity it does not look at."""
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


def _views(column: Column, n: int, buffers: Buffers) -> Callable[[int], str]:
    views, data = buffers[1], buffers[2:]
    if len(views) < n * _VIEW_BYTES:
        raise _short(column.name)

    def read(row: int) -> str:
        at = row * _VIEW_BYTES
        (length,) = struct.unpack_from("<i", views, at)
        if 0 <= length <= _INLINE_BYTES:
            return _text(views[at + 4 : at + 4 + length], column.name)
        which, first = struct.unpack_from("<ii", views, at + 8)
        if length < 0 or not 0 <= which < len(data) or not 0 <= first <= len(data[which]) - length:
            raise _short(column.name)
        return _text(data[which][first : first + length], column.name)

    return read


def _text(data: memoryview, name: str) -> str:
    try:
        return bytes(data).decode()
    except UnicodeDecodeError as error:
        raise malformed(f"the column {shown_name(name)} holds a string that is not UTF-8") from error


def _short(name: str) -> Exception:
    return malformed(f"the column {shown_name(name)} has fewer bytes than its rows need")
