"""A reader of protobuf messages: the fields of a message by their numbers, without a schema and without generated code."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from mlrf.core.errors import ModelUnreadableError

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_MAX_VARINT_BITS = 70
_SIGN = 1 << 63
Field = int | bytes


class Message:
    """The fields of one message; ModelUnreadableError if its bytes are no message, or a field has another type."""

    def __init__(self, raw: bytes, what: str) -> None:
        self._what = what
        self._fields: dict[int, list[tuple[int, Field]]] = {}
        for number, kind, value in self._read(raw):
            self._fields.setdefault(number, []).append((kind, value))

    def __contains__(self, number: int) -> bool:
        return number in self._fields

    def error(self, reason: str) -> ModelUnreadableError:
        """Return the error that says what is wrong with this message."""
        return ModelUnreadableError(f"the YDF model is damaged: {self._what} {reason}")

    def integer(self, number: int, default: int = 0) -> int:
        """Return a signed integer, the last of several."""
        found = self._fields.get(number)
        if found is None:
            return default
        kind, value = found[-1]
        if kind != _VARINT or not isinstance(value, int):
            raise self.error(f"has no integer as field {number}")
        return value - (_SIGN << 1) if value >= _SIGN else value

    def integers(self, number: int) -> list[int]:
        """Return integers, packed or one by one."""
        found: list[int] = []
        for kind, value in self._fields.get(number, []):
            if kind == _VARINT and isinstance(value, int):
                found.append(value)
            elif isinstance(value, bytes) and kind == _BYTES:
                at = 0
                while at < len(value):
                    each, at = self._varint(value, at)
                    found.append(each)
            else:
                raise self.error(f"has no integers as field {number}")
        return [each - (_SIGN << 1) if each >= _SIGN else each for each in found]

    def float32(self, number: int) -> float:
        """Return a float32, 0 if there is none."""
        found = self.floats(number, "<f", _FOUR)
        return found[-1] if found else 0.0

    def floats(self, number: int, form: str, width_kind: int = _FOUR) -> list[float]:
        """Return numbers of the width of `form`, packed or one by one."""
        found: list[float] = []
        size = struct.calcsize(form)
        for kind, value in self._fields.get(number, []):
            if not isinstance(value, bytes) or kind not in (width_kind, _BYTES) or len(value) % size:
                raise self.error(f"has no numbers as field {number}")
            found += [each[0] for each in struct.iter_unpack(form, value)]
        return found

    def doubles(self, number: int) -> list[float]:
        """Return float64 numbers."""
        return self.floats(number, "<d", _EIGHT)

    def raw(self, number: int) -> bytes:
        """Return bytes, empty if there are none."""
        found = self._fields.get(number)
        if found is None:
            return b""
        kind, value = found[-1]
        if kind != _BYTES or not isinstance(value, bytes):
            raise self.error(f"has no bytes as field {number}")
        return value

    def text(self, number: int, default: str = "") -> str:
        """Return text."""
        if number not in self:
            return default
        try:
            return self.raw(number).decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.error(f"has text that is not UTF-8 as field {number}") from error

    def message(self, number: int, what: str) -> Message:
        """Return a message, an empty one if there is none."""
        return Message(self.raw(number), what)

    def messages(self, number: int, what: str) -> list[Message]:
        """Return all messages of a repeated field."""
        found = self._fields.get(number, [])
        if not all(kind == _BYTES and isinstance(value, bytes) for kind, value in found):
            raise self.error(f"has no messages as field {number}")
        return [Message(value, what) for _, value in found if isinstance(value, bytes)]

    def _read(self, raw: bytes) -> Iterator[tuple[int, int, Field]]:
        at = 0
        while at < len(raw):
            key, at = self._varint(raw, at)
            kind = key & 7
            if kind == _VARINT:
                value: Field
                value, at = self._varint(raw, at)
            else:
                size = {_EIGHT: 8, _FOUR: 4}.get(kind)
                if kind == _BYTES:
                    size, at = self._varint(raw, at)
                if size is None or size > len(raw) - at:
                    raise self.error("is cut off")
                value, at = raw[at : at + size], at + size
            yield key >> 3, kind, value

    def _varint(self, raw: bytes, at: int) -> tuple[int, int]:
        value, shift = 0, 0
        while shift < _MAX_VARINT_BITS:
            if at >= len(raw):
                raise self.error("is cut off")
            byte = raw[at]
            value |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not byte & 0x80:
                return value & ((_SIGN << 1) - 1), at
        raise self.error("has an integer beyond 64 bits")
