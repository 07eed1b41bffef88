"""The datatypes of the Open Inference Protocol that features may have: their ranges, and how they are read.

Numbers are little-endian, like every processor that mlrf runs on, and row-major. An element of BYTES is a length of 4 bytes and
that many bytes.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any

import msgspec

from mlrf import _kernel

if sys.byteorder != "little":
    raise ImportError("mlrf runs on little-endian processors")

Buffer = bytes | memoryview
_LENGTH = struct.Struct("<I")
_COLUMN, _PAIR = struct.Struct("<IiI"), struct.Struct("<qq")
"""What the kernel reads of a record batch: columns, and the lengths or positions of its parts."""


class Datatype(msgspec.Struct, frozen=True):
    """One datatype: its `width` in bytes, and its `code` in `array`, `struct` and memory views. BYTES has neither."""

    name: str
    width: int
    code: str
    is_float: bool = False
    least: int = 0
    """The range of an integer datatype, from `least` to `most`."""
    most: int = 0

    def values_of(self, data: Buffer) -> array[float] | array[int]:
        """Return the numbers in a buffer; the caller has checked its length."""
        values: array[float] | array[int] = array(self.code)
        values.frombytes(data)
        return values


def _integer(name: str, code: str) -> Datatype:
    width = struct.calcsize("=" + code)
    bits = 8 * width
    return (
        Datatype(name, width, code, least=-(1 << (bits - 1)), most=(1 << (bits - 1)) - 1)
        if code.islower()
        else Datatype(name, width, code, most=(1 << bits) - 1)
    )


BYTES = Datatype("BYTES", 0, "")
FP64 = Datatype("FP64", 8, "d", is_float=True)
DATATYPES = {
    each.name: each
    for each in (
        FP64,
        Datatype("FP32", 4, "f", is_float=True),
        Datatype("BOOL", 1, "B", most=1),
        _integer("INT8", "b"),
        _integer("INT16", "h"),
        _integer("INT32", "i"),
        _integer("INT64", "q"),
        _integer("UINT8", "B"),
        _integer("UINT16", "H"),
        _integer("UINT32", "I"),
        _integer("UINT64", "Q"),
        BYTES,
    )
}
"""By the protocol's name."""


def as_doubles(numbers: array[Any]) -> array[float]:
    """Return numbers as float64, by the kernel: `array` takes 30 ns or more for each, as it makes objects of them."""
    return numbers if numbers.typecode == "d" else doubles_of(memoryview(numbers).cast("B"), numbers.typecode)


def doubles_of(raw: Buffer, code: str) -> array[float]:
    """Return the numbers in a buffer as float64; the caller has checked its length.

    They are not copied before: the new pages of eight million INT64 take 30 ms.
    """
    if code == "d":
        copied = array("d")
        copied.frombytes(raw)
        return copied
    count = len(raw) // struct.calcsize("=" + code)
    if not count:
        return array("d")
    doubles = array("d", bytes(8)) * count
    column = _COLUMN.pack(ord(code), 0, 2)
    located = _PAIR.pack(0, 0) + _PAIR.pack(0, len(raw))
    if not _kernel.fill_records(raw, _PAIR.pack(count, 0), located, column, doubles, count):
        raise AssertionError(f"the kernel does not read numbers of the type {code}")
    return doubles


def elements_of(data: Buffer, count: int) -> list[bytes] | None:
    """Return the elements of a BYTES tensor; None if its lengths do not give exactly `count` elements."""
    elements: list[bytes] = []
    offset, end = 0, len(data)
    while offset + _LENGTH.size <= end and len(elements) < count:
        start = offset + _LENGTH.size
        offset = start + _LENGTH.unpack_from(data, offset)[0]
        if offset > end:
            return None
        elements.append(bytes(data[start:offset]))
    return elements if offset == end and len(elements) == count else None
