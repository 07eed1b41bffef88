"""One gRPC connection of a load: sends calls as prepared frames, and needs no more processor time than an HTTP/1.1 client.

It implements as much of HTTP/2 (RFC 9113) as calls need. The server must not keep a table of headers, so that the trailers of
successful answers are all the same bytes. The flow-control windows for answers never close, and those for requests are
respected.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections import deque
from time import perf_counter
from typing import cast

from mlrf.demo.load_generator.generator import MakeConnection
from mlrf.demo.load_generator.http_connection import CONNECTION_LOST, Owner, Response

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD_BYTES, _FRAME_BYTES, _FIRST_WINDOW, _MOST_WINDOW = 9, 16_384, 65_535, (1 << 31) - 1
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW = 0, 1, 4, 6, 8
_ACK = _END_STREAM = 0x1
_END_HEADERS = 0x4
_NO_TABLE, _NO_PUSH, _WIDE = b"\0\x01\0\0\0\0", b"\0\x02\0\0\0\0", b"\0\x04\x7f\xff\xff\xff"
_STATUS = re.compile(rb"grpc-status([\x01\x02])(\d{1,2})")
_UNKNOWN = 2
"""The status of a call whose trailers do not name it as a successful answer's do."""
_FIELDS_AGAIN = b"\x83\x86\xc1\xc0\xbf\xbe"
"""POST, http, and the four fields that the first call put into the server's table."""


def grpc_connections(path: str, n_concurrent: int) -> MakeConnection:
    """Return what makes connections that each have up to `n_concurrent` calls of a method in flight."""
    return functools.partial(GrpcConnection, path, n_concurrent)


class GrpcConnection(asyncio.Protocol):
    """Sends messages as calls of one method, up to `n_concurrent` at a time."""

    def __init__(self, path: str, n_concurrent: int, owner: Owner) -> None:
        self.idle_since = 0.0
        self.status = 0
        self._owner, self._n_concurrent = owner, n_concurrent
        self._block = b"\x83\x86" + b"".join(
            (_kept(b"\x44", path.encode()), _kept(b"\x41", b"localhost"), _kept(b"\x40\x02te", b"trailers"),
             _kept(b"\x5f", b"application/grpc"))
        )  # fmt: skip
        self._calls: dict[int, tuple[int, float]] = {}
        self._next_stream = 1
        self._window = _FIRST_WINDOW
        self._waiting: deque[bytes] = deque()
        self._first_waiting = 1
        self._buffer = b""
        self._transport: asyncio.Transport
        self._closing = False

    @property
    def in_flight(self) -> list[float]:
        """When each call was due that has no answer yet."""
        return [due_at for _, due_at in self._calls.values()]

    def send(self, request: bytes, number: int, due_at: float) -> None:
        """Send a message as a call, when the server's window has space for it."""
        stream = self._next_stream
        self._next_stream += 2
        self._calls[stream] = number, due_at
        self._waiting.append(b"\0" + len(request).to_bytes(4, "big") + request)
        self._send_waiting()

    def abort(self) -> None:
        """Close at once, without a report."""
        self._closing = True
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the windows; the connection is then free for as many calls as it may have in flight."""
        self._transport = cast("asyncio.Transport", transport)
        grown = (_MOST_WINDOW - _FIRST_WINDOW).to_bytes(4, "big")
        settings = _frame(_SETTINGS, 0, 0, _NO_TABLE + _NO_PUSH + _WIDE)
        self._transport.write(_PREFACE + settings + _frame(_WINDOW, 0, 0, grown))
        self.idle_since = perf_counter()
        for _ in range(self._n_concurrent):
            self._owner.free(self)

    def data_received(self, data: bytes) -> None:
        """Process complete frames."""
        buffer, offset = self._buffer + data, 0
        while len(buffer) - offset >= _HEAD_BYTES:
            start = offset + _HEAD_BYTES
            end = start + int.from_bytes(buffer[offset : offset + 3], "big")
            if end > len(buffer):
                break
            stream = int.from_bytes(buffer[offset + 5 : start], "big")
            self._take(buffer[offset + 3], buffer[offset + 4], stream, buffer[start:end])
            offset = end
        self._buffer = buffer[offset:]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the reason changes nothing
        """Report the calls in flight when either side closed."""
        calls, self._calls = self._calls, {}
        if not self._closing:
            for _, due_at in calls.values():
                self._owner.failed(due_at, CONNECTION_LOST)
            if not calls:
                self._owner.failed(None, CONNECTION_LOST)
        self._owner.lost(self)

    def _take(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        """Process a frame."""
        match kind:
            case 1 if flags & _END_STREAM:
                found = _STATUS.search(content)
                self._end(stream, int(found[2]) if found else _UNKNOWN, content)
            case 3:
                self._end(stream, _UNKNOWN, content)
            case 4 if not flags & _ACK:
                self._transport.write(_frame(_SETTINGS, _ACK, 0, b""))
            case 6 if not flags & _ACK:
                self._transport.write(_frame(_PING, _ACK, 0, content))
            case 8 if not stream:
                self._window += int.from_bytes(content, "big")
                self._send_waiting()

    def _end(self, stream: int, status: int, content: bytes) -> None:
        call = self._calls.pop(stream, None)
        if call is None:
            return
        self.status, self.idle_since = status, perf_counter()
        self._owner.answered(*call, Response(status, {}, content))
        self._owner.free(self)

    def _send_waiting(self) -> None:
        """Send the frames of the calls for which the server's window has space."""
        while self._waiting and self._window >= len(self._waiting[0]):
            body = self._waiting.popleft()
            stream, self._first_waiting = self._first_waiting, self._first_waiting + 2
            self._window -= len(body)
            frames = [_frame(_HEADERS, _END_HEADERS, stream, self._block)]
            self._block = _FIELDS_AGAIN
            for at in range(0, len(body), _FRAME_BYTES):
                is_last = at + _FRAME_BYTES >= len(body)
                frames.append(_frame(_DATA, _END_STREAM if is_last else 0, stream, body[at : at + _FRAME_BYTES]))
            self._transport.write(b"".join(frames))


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + content


def _kept(name: bytes, value: bytes) -> bytes:
    """Return a header field that the server adds to its table (RFC 7541, 6.2.1)."""
    return name + bytes((len(value),)) + value
