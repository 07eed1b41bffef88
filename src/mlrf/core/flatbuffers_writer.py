"""Writes FlatBuffers tables from front to back: first the vtable, then the table, then what it refers to."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

Child = Callable[["FlatBufferWriter"], int]
"""Writes something at the end of the buffer, and returns its position."""
Field = tuple[str, int | float] | Child | None
"""A scalar with its type as in `struct`, a writer of what a reference refers to, or None for an absent field."""
_SIZES = {"B": 1, "h": 2, "i": 4, "q": 8}


class FlatBufferWriter:
    """Writes tables, vectors and strings to the end of a buffer."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @classmethod
    def message(cls, root: Sequence[Field]) -> bytes:
        """Return a buffer whose root table has these fields, padded to 8 bytes."""
        writer = cls()
        writer._buffer += bytes(4)
        struct.pack_into("<I", writer._buffer, 0, writer.table(root))
        writer._align(8)
        return bytes(writer._buffer)

    def table(self, fields: Sequence[Field]) -> int:
        """Write a table and what it refers to; return its position."""
        offsets, size = [], 4
        for field in fields:
            width = 0 if field is None else _SIZES[field[0]] if isinstance(field, tuple) else 4
            size += -size % width if width else 0
            offsets.append(size if width else 0)
            size += width
        self._align(8, 4 + 2 * len(fields))
        vtable = len(self._buffer)
        self._buffer += struct.pack(f"<HH{len(fields)}H", 4 + 2 * len(fields), size, *offsets)
        position = len(self._buffer)
        self._buffer += bytes(size)
        struct.pack_into("<i", self._buffer, position, position - vtable)
        for field, offset in zip(fields, offsets, strict=True):
            if isinstance(field, tuple):
                struct.pack_into("<" + field[0], self._buffer, position + offset, field[1])
            elif field is not None:
                self._refer(position + offset, field)
        return position

    def tables(self, children: Sequence[Child]) -> int:
        """Write a vector of tables; return its position."""
        self._align(4)
        position = len(self._buffer)
        self._buffer += struct.pack("<I", len(children)) + bytes(4 * len(children))
        for index, child in enumerate(children):
            self._refer(position + 4 + 4 * index, child)
        return position

    def text(self, text: str) -> int:
        """Write a string; return its position."""
        self._align(4)
        position = len(self._buffer)
        encoded = text.encode()
        self._buffer += struct.pack("<I", len(encoded)) + encoded + b"\0"
        return position

    def structs(self, code: str, items: Sequence[tuple[int, ...]]) -> int:
        """Write a vector of structs of 8-byte numbers; return its position."""
        self._align(8, 4)
        position = len(self._buffer)
        self._buffer += struct.pack("<I", len(items)) + b"".join(struct.pack("<" + code, *item) for item in items)
        return position

    def _refer(self, position: int, child: Child) -> None:
        struct.pack_into("<I", self._buffer, position, child(self) - position)

    def _align(self, to: int, before: int = 0) -> None:
        """Pad so that what follows `before` more bytes is aligned."""
        self._buffer += bytes(-(len(self._buffer) + before) % to)
