"""Universal Binary JSON (https://ubjson.org, draft 12) as XGBoost writes it: big-endian numbers, typed arrays read in place.

Every length is compared with the rest of the file before anything is allocated.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from mlrf.core.errors import ModelUnreadableError

_NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_LENGTHS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q"}
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}
_MAX_DEPTH = 64


def read_ubjson(raw: bytes) -> Any:
    """Return the value of a document; typed arrays are NumPy arrays. ModelUnreadableError if it is damaged."""
    reader = _Reader(raw)
    value = reader.value(reader.marker(), 0)
    if reader.at != len(raw):
        raise reader.error("has more data after its end")
    return value


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.at = 0

    def error(self, reason: str) -> ModelUnreadableError:
        return ModelUnreadableError(f"the UBJSON model file is cut off or damaged: it {reason} (byte {self.at})")

    def marker(self) -> bytes:
        found = self._take(1)
        while found == b"N":
            found = self._take(1)
        return found

    def value(self, marker: bytes, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise self.error("is nested too deep")
        if marker in _NUMBERS:
            kind = np.dtype(_NUMBERS[marker])
            return np.frombuffer(self._take(kind.itemsize), kind)[0].item()
        if marker in _CONSTANTS:
            return _CONSTANTS[marker]
        if marker == b"S":
            return self._text()
        if marker == b"C":
            return self._take(1).decode("latin-1")
        if marker == b"[":
            return self._array(depth)
        if marker == b"{":
            return self._object(depth)
        raise self.error(f"has the unknown marker {marker!r}")

    def _array(self, depth: int) -> Any:
        kind, count = self._optimised()
        if kind is not None:
            if kind not in _NUMBERS:
                raise self.error(f"has an array of {kind!r}")
            number = np.dtype(_NUMBERS[kind])
            return np.frombuffer(self._take(count * number.itemsize), number)
        if count >= 0:
            self._expect(count)
            return [self.value(self.marker(), depth + 1) for _ in range(count)]
        items = []
        while (marker := self.marker()) != b"]":
            items.append(self.value(marker, depth + 1))
        return items

    def _object(self, depth: int) -> dict[str, Any]:
        kind, count = self._optimised()
        if kind is not None:
            raise self.error("has an object of one type")
        members: dict[str, Any] = {}
        while count != 0:
            if count < 0:
                marker = self.marker()
                if marker == b"}":
                    break
                key = self._text(marker)
            else:
                key = self._text()
                count -= 1
            if key in members:
                raise self.error(f"names {key[:40]!r} twice")
            members[key] = self.value(self.marker(), depth + 1)
        return members

    def _optimised(self) -> tuple[bytes | None, int]:
        """Return the element type and the count that precede the elements; None and -1 if absent."""
        kind, count = None, -1
        if self._raw[self.at : self.at + 1] == b"$":
            self.at += 1
            kind = self._take(1)
        if self._raw[self.at : self.at + 1] == b"#":
            self.at += 1
            count = self._length(self._take(1))
        elif kind is not None:
            raise self.error("has an array of one type without a length")
        return kind, count

    def _text(self, marker: bytes | None = None) -> str:
        try:
            return self._take(self._length(marker or self._take(1))).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error("has text that is not UTF-8") from error

    def _length(self, marker: bytes) -> int:
        if marker not in _LENGTHS:
            raise self.error(f"has a length of the type {marker!r}")
        kind = _LENGTHS[marker]
        (length,) = struct.unpack(kind, self._take(struct.calcsize(kind)))
        if length < 0:
            raise self.error("has a negative length")
        return int(length)

    def _take(self, count: int) -> bytes:
        self._expect(count)
        taken = self._raw[self.at : self.at + count]
        self.at += count
        return taken

    def _expect(self, count: int) -> None:
        if count > len(self._raw) - self.at:
            raise self.error(f"ends {count - (len(self._raw) - self.at)} bytes early")
