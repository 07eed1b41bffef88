"""Reads tables of a FlatBuffers buffer field by field; every offset is checked against the buffer.

The wire format is FlatBuffers' own (internals, "FlatBuffer binary format"): a table begins with the distance back to its
vtable, which holds the offset of each field, 0 where a field has its default; strings, vectors and tables lie behind
unsigned distances.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Self

_NUMBERS = {"<" + code: struct.Struct("<" + code) for code in "bBhHiIqQfd?"}


class DamagedBufferError(Exception):
    """A buffer has an offset outside itself, or a text that is not UTF-8."""


class Table:
    """One table of a buffer; its methods raise the error of `damaged` if an offset lies outside the buffer."""

    __slots__ = ("_at", "_buffer", "_n_fields", "_vtable")

    def __init__(self, buffer: bytes | memoryview, at: int) -> None:
        self._buffer = buffer
        self._at = at
        self._vtable = at - self._read("<i", at)
        self._n_fields = (self._read("<H", self._vtable) - 4) // 2

    @classmethod
    def root(cls, buffer: bytes | memoryview) -> Self:
        """Return the first table of a buffer."""
        if len(buffer) < 4:  # noqa: PLR2004  the distance to it
            raise cls.damaged("it is cut")
        return cls(buffer, struct.unpack_from("<I", buffer)[0])

    @classmethod
    def damaged(cls, reason: str) -> Exception:
        """Return the error for a buffer that is damaged."""
        return DamagedBufferError(reason)

    def number(self, field: int, code: str, default: Any) -> Any:
        """Return a scalar field, `code` as in `struct`."""
        position = self._position_of(field)
        return default if position is None else self._read("<" + code, position)

    def text(self, field: int) -> str:
        """Return a string field, empty if it is absent."""
        return self._text_at(self._position_of(field))

    def items(self, field: int, item_bytes: int) -> bytes | memoryview:
        """Return the bytes of a vector of numbers or of packed structs."""
        start, count = self._vector(field)
        if start + count * item_bytes > len(self._buffer):
            raise self.damaged("it points outside itself")
        return self._buffer[start : start + count * item_bytes]

    def table(self, field: int) -> Self | None:
        """Return a table field, None if it is absent."""
        position = self._position_of(field)
        return None if position is None else type(self)(self._buffer, position + self._read("<I", position))

    def tables(self, field: int) -> Iterator[Self]:
        """Yield the tables of a vector."""
        start, count = self._vector(field)
        for position in range(start, start + 4 * count, 4):
            yield type(self)(self._buffer, position + self._read("<I", position))

    def texts(self, field: int) -> list[str]:
        """Return a vector of strings."""
        start, count = self._vector(field)
        return [self._text_at(position) for position in range(start, start + 4 * count, 4)]

    def count(self, field: int) -> int:
        """Return the number of items of a vector."""
        return self._vector(field)[1]

    def _vector(self, field: int) -> tuple[int, int]:
        position = self._position_of(field)
        if position is None:
            return 0, 0
        start = position + self._read("<I", position)
        count = self._read("<I", start)
        if start + 4 + count > len(self._buffer):  # an item takes a byte at least
            raise self.damaged("it points outside itself")
        return start + 4, count

    def _text_at(self, position: int | None) -> str:
        if position is None:
            return ""
        start = position + self._read("<I", position)
        size = self._read("<I", start)
        if start + 4 + size > len(self._buffer):
            raise self.damaged("it points outside itself")
        try:
            return bytes(self._buffer[start + 4 : start + 4 + size]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.damaged(f"it holds a text that is not UTF-8: {error.reason}") from error

    def _position_of(self, field: int) -> int | None:
        if field >= self._n_fields:
            return None
        distance = self._read("<H", self._vtable + 4 + 2 * field)
        return self._at + distance if distance else None

    def _read(self, code: str, at: int) -> Any:
        number = _NUMBERS[code]
        if at < 0 or at + number.size > len(self._buffer):
            raise self.damaged("it points outside itself")
        return number.unpack_from(self._buffer, at)[0]
