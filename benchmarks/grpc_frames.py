"""gRPC calls as prepared frames: a client that uses no more processor time than wrk does over HTTP/1.1.

It implements as much of HTTP/2 (RFC 9113) as calls need. The server must not keep a table of headers, so that the trailers of
successful answers are all the same bytes. The flow-control windows for answers never close, and those for requests are
respected."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import cast

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD_BYTES, _FRAME_BYTES, _FIRST_WINDOW, _MOST_WINDOW = 9, 16_384, 65_535, (1 << 31) - 1
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _LEAVE, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 0x1
_END_HEADERS = 0x4
_NO_TABLE, _NO_PUSH, _WIDE = b"\0\x01\0\0\0\0", b"\0\x02\0\0\0\0", b"\0\x04\x7f\xff\xff\xff"
_GOOD = b"grpc-status\x010"
_FIELDS_AGAIN = b"\x83\x86\xc1\xc0\xbf\xbe"
"""POST, http, and the four fields that the first call put into the server's table."""


class FramesClient(asyncio.Protocol):
    """One connection that keeps `n_concurrent` calls in flight, each with the next of some messages, until `stop`."""

    def __init__(self, path: str, messages: Sequence[bytes], n_concurrent: int) -> None:
        self._bodies = [b"\0" + len(each).to_bytes(4, "big") + each for each in messages]
        self._n_concurrent = n_concurrent
        self._block = b"\x83\x86" + b"".join(
            (_kept(b"\x44", path.encode()), _kept(b"\x41", b"localhost"), _kept(b"\x40\x02te", b"trailers"),
             _kept(b"\x5f", b"application/grpc"))
        )  # fmt: skip
        self._began: dict[int, float] = {}
        self._next_stream = 1
        self._window = _FIRST_WINDOW
        self._n_deferred = 0
        self._buffer = b""
        self._transport: asyncio.Transport
        self.elapsed_s: list[float] = []
        self.refused: list[bytes] = []
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        grown = (_MOST_WINDOW - _FIRST_WINDOW).to_bytes(4, "big")
        self._transport.write(
            _PREFACE + _frame(_SETTINGS, 0, 0, _NO_TABLE + _NO_PUSH + _WIDE) + _frame(_WINDOW, 0, 0, grown)
        )
        self._transport.write(b"".join(self._call() for _ in range(self._n_concurrent)))

    def data_received(self, data: bytes) -> None:
        buffer, offset, out = self._buffer + data, 0, []
        while len(buffer) - offset >= _HEAD_BYTES:
            start = offset + _HEAD_BYTES
            end = start + int.from_bytes(buffer[offset : offset + 3], "big")
            if end > len(buffer):
                break
            stream = int.from_bytes(buffer[offset + 5 : start], "big")
            out.append(self._take(buffer[offset + 3], buffer[offset + 4], stream, buffer[start:end]))
            offset = end
        self._buffer = buffer[offset:]
        self._transport.write(b"".join(out))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.stopped:
            self.refused.append(b"the connection ended: %r" % exc)

    def _take(self, kind: int, flags: int, stream: int, content: bytes) -> bytes:
        """Process a frame; return the bytes to send in response."""
        match kind:
            case 1 if flags & _END_STREAM:
                self.elapsed_s.append(perf_counter() - self._began.pop(stream))
                if _GOOD not in content:
                    self.refused.append(content)
                return b"" if self.stopped else self._call()
            case 3 | 7:
                self.refused.append(content)
            case 4 if not flags & _ACK:
                return _frame(_SETTINGS, _ACK, 0, b"")
            case 6 if not flags & _ACK:
                return _frame(_PING, _ACK, 0, content)
            case 8 if not stream:
                self._window += int.from_bytes(content, "big")
                n_deferred, self._n_deferred = self._n_deferred, 0
                return b"".join(self._call() for _ in range(n_deferred))
        return b""

    def _call(self) -> bytes:
        """Return the frames of the next call; empty if the server's window has no space for them yet."""
        stream = self._next_stream
        body = self._bodies[stream // 2 % len(self._bodies)]
        if self._window < len(body):
            self._n_deferred += 1
            return b""
        self._window -= len(body)
        self._next_stream += 2
        frames = [_frame(_HEADERS, _END_HEADERS, stream, self._block)]
        self._block = _FIELDS_AGAIN
        for at in range(0, len(body), _FRAME_BYTES):
            is_last = at + _FRAME_BYTES >= len(body)
            frames.append(_frame(_DATA, _END_STREAM if is_last else 0, stream, body[at : at + _FRAME_BYTES]))
        self._began[stream] = perf_counter()
        return b"".join(frames)


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + content


def _kept(name: bytes, value: bytes) -> bytes:
    """Return a header field that the server adds to its table (RFC 7541, 6.2.1)."""
    return name + bytes((len(value),)) + value
