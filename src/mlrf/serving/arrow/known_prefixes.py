"""The beginnings of streams that were read before: a client's frames mostly share their schema and their dictionaries."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")
_MOST, _MOST_BYTES = 16, 1 << 16
"""Most beginnings that are kept, and most bytes of one."""


class KnownPrefixes(Generic[T]):
    """What was read of the first bytes of streams, by these bytes."""

    def __init__(self) -> None:
        self._read: dict[bytes, T] = {}
        self._sizes: tuple[int, ...] = ()

    def find(self, body: bytes) -> tuple[int, T] | None:
        """Return the size of the known prefix of a stream, and what was read of it; None without one."""
        for size in self._sizes:
            if (found := self._read.get(body[:size])) is not None:
                return size, found
        return None

    def keep(self, prefix: bytes, read: T) -> None:
        """Keep what was read of a prefix, unless that is long."""
        if len(prefix) > _MOST_BYTES:
            return
        if len(self._read) >= _MOST:
            self._read.clear()
        self._read[prefix] = read
        self._sizes = tuple({len(each) for each in tuple(self._read)})

    def clear(self) -> None:
        """Forget all."""
        self._read.clear()
        self._sizes = ()
