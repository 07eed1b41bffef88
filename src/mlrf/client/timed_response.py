"""`TimedResponse`: an HTTP response that is read before a deadline, however slowly the server sends it.

The time-out of a socket begins anew with every byte, so it is set to the time that is left before each read.
"""

from __future__ import annotations

import http.client
import io
import socket
from time import monotonic
from typing import Any


class TimedResponse(http.client.HTTPResponse):
    """A response whose status, headers and body raise TimeoutError at `deadline_s` (`time.monotonic`)."""

    def __init__(self, deadline_s: float, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_TimedReader(raw, sock, deadline_s))


class _TimedReader(io.RawIOBase):
    """The bytes of a socket, each read of which ends at the deadline."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline_s: float) -> None:
        self._raw, self._sock, self._deadline_s = raw, sock, deadline_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._deadline_s - monotonic()
        if left_s <= 0.0:
            raise TimeoutError
        self._sock.settimeout(left_s)
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()
