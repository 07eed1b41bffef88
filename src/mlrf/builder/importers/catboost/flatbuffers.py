"""Tables of a FlatBuffers file, read field by field; every offset is checked against the buffer.

The wire format is FlatBuffers' own (internals, "FlatBuffer binary format"): a table begins with the distance back to its
vtable, which holds the place of each field, 0 where a field has its default; strings, vectors and tables lie behind
unsigned distances.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from mlrf.core.errors import ModelUnreadableError


class Table:
    """One table of a buffer; ModelUnreadableError if an offset points outside the buffer."""

    __slots__ = ("_at", "_buffer", "_n_fields", "_vtable")

    def __init__(self, buffer: memoryview, at: int) -> None:
        self._buffer = buffer
        self._at = at
        self._vtable = at - self._read("<i", at)
        self._n_fields = (self._read("<H", self._vtable) - 4) // 2

    @classmethod
    def root(cls, buffer: memoryview) -> Table:
        """Return the first table of a buffer."""
        if len(buffer) < 4:  # noqa: PLR2004  the distance to it
            raise _damaged()
        return cls(buffer, struct.unpack_from("<I", buffer)[0])

    def number(self, field: int, code: str, default: Any) -> Any:
        """Return a scalar field, `code` as in `struct`."""
        place = self._place(field)
        return default if place is None else self._read("<" + code, place)

    def text(self, field: int) -> str:
        """Return a string field, empty if it is absent."""
        return self._text_at(self._place(field))

    def vector(self, field: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return a vector of numbers or of packed structs."""
        kind = np.dtype(dtype)
        start, count = self._vector(field)
        if start + count * kind.itemsize > len(self._buffer):
            raise _damaged()
        return np.frombuffer(self._buffer, kind, count, start)

    def table(self, field: int) -> Table | None:
        """Return a table field, None if it is absent."""
        place = self._place(field)
        return None if place is None else Table(self._buffer, place + self._read("<I", place))

    def tables(self, field: int) -> Iterator[Table]:
        """Yield the tables of a vector."""
        start, count = self._vector(field)
        for place in range(start, start + 4 * count, 4):
            yield Table(self._buffer, place + self._read("<I", place))

    def texts(self, field: int) -> list[str]:
        """Return a vector of strings."""
        start, count = self._vector(field)
        return [self._text_at(place) for place in range(start, start + 4 * count, 4)]

    def count(self, field: int) -> int:
        """Return the number of items of a vector."""
        return self._vector(field)[1]

    def _vector(self, field: int) -> tuple[int, int]:
        place = self._place(field)
        if place is None:
            return 0, 0
        start = place + self._read("<I", place)
        count = self._read("<I", start)
        if start + 4 + count > len(self._buffer):  # an item takes a byte at least
            raise _damaged()
        return start + 4, count

    def _text_at(self, place: int | None) -> str:
        if place is None:
            return ""
        start = place + self._read("<I", place)
        size = self._read("<I", start)
        if start + 4 + size > len(self._buffer):
            raise _damaged()
        try:
            return bytes(self._buffer[start + 4 : start + 4 + size]).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ModelUnreadableError(f"the .cbm file contains a name that is not UTF-8: {error.reason}") from error

    def _place(self, field: int) -> int | None:
        if field >= self._n_fields:
            return None
        distance = self._read("<H", self._vtable + 4 + 2 * field)
        return self._at + distance if distance else None

    def _read(self, code: str, at: int) -> Any:
        if at < 0 or at + struct.calcsize(code) > len(self._buffer):
            raise _damaged()
        return struct.unpack_from(code, self._buffer, at)[0]


def _damaged() -> ModelUnreadableError:
    return ModelUnreadableError(
        "the .cbm file is cut off or damaged: an offset points outside the file; copy it again, byte for byte"
    )
