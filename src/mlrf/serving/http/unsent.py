"""Bounds the memory of responses that clients have not read yet.

1. The bound is for all connections of a worker. When it is exceeded, the connection that has waited longest is closed, then the
   next.
2. A response that the socket accepts at once is never counted.
3. A connection whose client does not read ends with a TCP reset, not with what the kernel has still to send.

Without a bound, many connections that each send a hundred bytes for a long response (a curve, explained rows) and read nothing
made a worker grow by gigabytes before `--write-timeout` ended the first of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Protocol

from mlrf.serving.runtime.admission import KEPT_SHARE, MAX_UNSENT_BYTES

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class UnreadConnection(Protocol):
    """A connection whose client has responses to read."""

    def unsent_bytes(self) -> int:
        """Return the bytes that the socket has not taken yet."""
        ...

    def cut_slow_reader(self) -> None:
        """Close without sending the rest."""
        ...


class UnsentResponses:
    """The connections of one worker with unread responses, the longest waiting first."""

    def __init__(self, max_bytes: int = MAX_UNSENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._unsent: dict[UnreadConnection, int] = {}
        self._n_bytes = 0

    def note(self, reader: UnreadConnection, n_bytes: int, *, was_read: bool = False) -> None:
        """Record the unsent bytes of a connection; `was_read`: it had none before. May close this or another connection."""
        if was_read:
            self.forget(reader)
        self._n_bytes += n_bytes - self._unsent.get(reader, 0)
        self._unsent[reader] = n_bytes
        if self._n_bytes > self._max_bytes:
            self._cut_slow_readers()

    def forget(self, reader: UnreadConnection) -> None:
        """Forget a connection that has closed or was read."""
        self._n_bytes -= self._unsent.pop(reader, 0)

    def _cut_slow_readers(self) -> None:
        # What clients have read meanwhile was not reported, so ask each connection before it is closed.
        unsent = {reader: n_bytes for reader in self._unsent if (n_bytes := reader.unsent_bytes())}
        self._unsent, self._n_bytes = unsent, sum(unsent.values())
        if self._n_bytes <= self._max_bytes:
            return
        for reader in tuple(unsent):
            if self._n_bytes <= self._max_bytes * KEPT_SHARE:
                return
            self.forget(reader)
            reader.cut_slow_reader()


def reset(transport: asyncio.Transport) -> None:
    """Close a connection with a TCP reset.

    After an ordinary close the kernel retries for minutes to send what the client does not read, and holds its memory; a client
    that is itself sending waits as long to learn that the connection has ended.
    """
    with contextlib.suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
