"""A raw HTTP/2 client (RFC 9113) for gRPC calls that obeys only flow control, to send what correct clients never send."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Mapping
from typing import NamedTuple, Self

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
INITIAL_WINDOW = 65535
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD_BYTES = 9
_FRAME_BYTES = 16384
_INITIAL_WINDOW_SETTING = 4
_WINDOW_MASK = (1 << 31) - 1
_ONE_BYTE_HEADER = b"\x95"
"""`age` without a value, from HPACK's static table."""
_POST_HTTP = b"\x83\x86"
"""`:method: POST` and `:scheme: http`, from HPACK's static table."""


class Frame(NamedTuple):
    """A frame that came."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """The bytes of a frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def message_head(size: int, *, compressed: bool = False) -> bytes:
    """What stands before the `size` bytes of a gRPC message."""
    return bytes((compressed,)) + size.to_bytes(4, "big")


class RawHttp2:
    """One connection, whose receive buffer may be made small for a client that reads slowly."""

    def __init__(
        self, port: int, *, acks_pings: bool = True, acks_settings: bool = True, receive_bytes: int | None = None
    ) -> None:
        self.socket = socket.socket()
        if receive_bytes is not None:
            # Before it connects: a buffer made smaller later takes back what the server may send, and then both sides may
            # wait for each other until a timeout of minutes.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(_PREFACE + frame(SETTINGS, 0, 0))
        self.frames: list[Frame] = []
        """What came, but for what flow control takes."""
        self._acks_pings = acks_pings
        self._acks_settings = acks_settings
        self._came = b""
        self._window = self._initial_window = INITIAL_WINDOW
        self._windows: dict[int, int] = {}
        self._next = 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def call(self, path: str, metadata: Mapping[str, str] = {}, n_more: int = 0, *, ends: bool = True) -> int:
        """Open a stream for a call of gRPC, with so many more headers of one byte each; return its number.

        Unless it `ends` them, the server waits for still more headers.
        """
        stream, self._next = self._next, self._next + 2
        named = {":path": path, ":authority": "a", "content-type": "application/grpc", "te": "trailers", **metadata}
        block = _POST_HTTP + b"".join(b"\0" + _text(name) + _text(value) for name, value in named.items())
        block += _ONE_BYTE_HEADER * n_more
        parts = [block[start : start + _FRAME_BYTES] for start in range(0, len(block), _FRAME_BYTES)]
        kinds = [HEADERS] + [CONTINUATION] * (len(parts) - 1)
        last = len(parts) - 1
        frames = [
            frame(kind, END_HEADERS if ends and index == last else 0, stream, part)
            for index, (kind, part) in enumerate(zip(kinds, parts, strict=True))
        ]
        self.socket.sendall(b"".join(frames))
        self._windows[stream] = self._initial_window
        return stream

    def send(self, stream: int, content: bytes, *, ends: bool = False) -> None:
        """Send content that the windows have room for."""
        self.socket.sendall(frame(DATA, END_STREAM if ends else 0, stream, content))
        self._windows[stream] -= len(content)
        self._window -= len(content)

    def fill(self, sizes: Mapping[int, int], limit_s: float) -> dict[int, int]:
        """Send so many zeros on each stream, as far as the server takes them; return what is left to send."""
        left, until = dict(sizes), time.monotonic() + limit_s
        while any(left.values()) and time.monotonic() < until:
            sent = 0
            for stream, n in left.items():
                size = min(n, self._windows[stream], self._window, _FRAME_BYTES)
                if size > 0:
                    self.send(stream, bytes(size))
                    left[stream] -= size
                    sent += size
                self.receive(0.0)
            if not sent:
                self.receive(0.05)
        return left

    def receive(self, limit_s: float) -> bool:
        """Take what has come by then; EOFError at the end."""
        if not select.select([self.socket], [], [], limit_s)[0]:
            return False
        content = self.socket.recv(1 << 16)
        if not content:
            raise EOFError
        self._came += content
        while len(self._came) >= _HEAD_BYTES:
            end = _HEAD_BYTES + int.from_bytes(self._came[:3], "big")
            if len(self._came) < end:
                break
            stream = int.from_bytes(self._came[5:9], "big") & _WINDOW_MASK
            self._take(Frame(self._came[3], self._came[4], stream, self._came[_HEAD_BYTES:end]))
            self._came = self._came[end:]
        return True

    def ended(self, stream: int, limit_s: float) -> bool:
        """Whether the server ends a stream by then."""
        until = time.monotonic() + limit_s
        while time.monotonic() < until:
            for each in self.frames:
                ends = each.kind == RST_STREAM or (each.kind in (DATA, HEADERS) and each.flags & END_STREAM)
                if each.stream == stream and ends:
                    return True
            self.receive(0.05)
        return False

    def _take(self, came: Frame) -> None:
        if came.kind == WINDOW_UPDATE:
            more = int.from_bytes(came.payload, "big") & _WINDOW_MASK
            if came.stream:
                self._windows[came.stream] = self._windows.get(came.stream, 0) + more
            else:
                self._window += more
        elif came.kind == SETTINGS and not came.flags & ACK:
            for name, value in struct.iter_unpack(">HI", came.payload):
                if name == _INITIAL_WINDOW_SETTING:
                    self._windows = {each: n + value - self._initial_window for each, n in self._windows.items()}
                    self._initial_window = value
            if self._acks_settings:
                self.socket.sendall(frame(SETTINGS, ACK, 0))
        elif came.kind == PING and not came.flags & ACK:
            if self._acks_pings:
                self.socket.sendall(frame(PING, ACK, 0, came.payload))
        else:
            self.frames.append(came)


def _text(text: str) -> bytes:
    content = text.encode(errors="surrogateescape")
    return bytes((len(content),)) + content
