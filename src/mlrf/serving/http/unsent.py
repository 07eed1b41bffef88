"""The memory that responses take which clients have not read yet.

1. It is bounded over all connections of a worker: beyond the bound the one that has waited longest is cut, then the next.
2. A response that the socket takes at once is never counted.

Without a bound, a request of a hundred bytes for a long response (a curve, explained rows), sent on many connections that read
nothing, made a worker grow by gigabytes before `--write-timeout` ended the first of them.
"""

from __future__ import annotations

from typing import Protocol

MAX_UNSENT_BYTES = 128 << 20
_KEPT_SHARE = 0.75
"""How much of the bound stays after connections were cut, so that not every further response looks at all of them."""


class Reader(Protocol):
    """A connection whose client has responses to read."""

    def unsent_bytes(self) -> int:
        """Return the bytes that the socket has not taken yet."""
        ...

    def cut_slow_reader(self) -> None:
        """Close without sending the rest."""
        ...


class UnsentResponses:
    """The connections of one worker that hold responses, those that have done so longest first."""

    def __init__(self, max_bytes: int = MAX_UNSENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._unsent: dict[Reader, int] = {}
        self._n_bytes = 0

    def note(self, reader: Reader, n_bytes: int, *, was_read: bool = False) -> None:
        """Record what a connection holds now; `was_read`: it held nothing before. May cut this or another connection."""
        if was_read:
            self.forget(reader)
        self._n_bytes += n_bytes - self._unsent.get(reader, 0)
        self._unsent[reader] = n_bytes
        if self._n_bytes > self._max_bytes:
            self._cut_slow_readers()

    def forget(self, reader: Reader) -> None:
        """Forget a connection that has closed or was read."""
        self._n_bytes -= self._unsent.pop(reader, 0)

    def _cut_slow_readers(self) -> None:
        # What clients have read meanwhile was not reported: look before a connection is cut.
        unsent = {reader: n_bytes for reader in self._unsent if (n_bytes := reader.unsent_bytes())}
        self._unsent, self._n_bytes = unsent, sum(unsent.values())
        if self._n_bytes <= self._max_bytes:
            return
        for reader in tuple(unsent):
            if self._n_bytes <= self._max_bytes * _KEPT_SHARE:
                return
            self.forget(reader)
            reader.cut_slow_reader()
