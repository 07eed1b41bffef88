"""The sending half of a connection: frames in their order, flow control, and writing to the socket."""

from __future__ import annotations

import asyncio
import os
from time import perf_counter

from mlrf.serving.http.unsent import reset
from mlrf.serving.http2.request_stream import Stream
from mlrf.serving.http2.server import Http2Server
from mlrf.serving.http2.wire_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEADERS,
    INITIAL_WINDOW,
    MAX_WINDOW,
    MIN_MAX_FRAME,
    ErrorCode,
    ProtocolError,
    StreamError,
    reset_frame,
    window_update_frame,
)

_FLUSH_BYTES = 64 << 10
"""Frames are written once a turn, or when this many bytes of them wait."""
_TLS_WRITE_BYTES = 128 << 10
"""Most bytes written at once over TLS, whose transport does not count what the socket has not taken
(see http/tls_connection)."""


class Sending(asyncio.Protocol):
    """Writes frames. Content waits in its stream until the client's windows allow it."""

    __slots__ = (
        "_closing_since_s",
        "_descriptor",
        "_in_turn",
        "_max_frame",
        "_paused_since_s",
        "_pending",
        "_pending_bytes",
        "_send_window",
        "_server",
        "_transport",
        "_unsent_bytes",
        "_unsent_streams",
        "_were_reset",
        "peer",
        "send_window_of_streams",
    )
    _transport: asyncio.Transport
    _descriptor: int
    receive_window_of_streams = INITIAL_WINDOW

    def __init__(self, server: Http2Server) -> None:
        self._server = server
        self.peer = ""
        """The client's address as "host:port"; empty for a Unix socket."""
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._in_turn = False
        """Whether received bytes are being read, after which the pending frames are written."""
        self._send_window = INITIAL_WINDOW
        self.send_window_of_streams = INITIAL_WINDOW
        self._max_frame = MIN_MAX_FRAME
        self._unsent_streams: dict[Stream, None] = {}
        self._unsent_bytes = 0
        self._paused_since_s = 0.0
        self._closing_since_s = 0.0
        self._were_reset: dict[int, None] = {}
        """The streams reset last: frames of them may be in transit. The client has no more of them open than it may open."""

    def _end(self, stream: Stream) -> None:
        raise NotImplementedError

    def answer(self, stream: Stream, head: bytes, content: bytes, trailers: bytes) -> None:
        """Send a whole answer: header block, content, trailer block."""
        number, size = stream.number, len(content)
        if size <= self._send_window and size <= stream.send_window and size <= self._max_frame and not stream.unsent:
            self._send_window -= size
            self._put(
                b"%b%b%b%b%b%b"
                % (
                    HEAD.pack(len(head) << 8 | HEADERS, END_HEADERS, number),
                    head,
                    HEAD.pack(size << 8 | DATA, 0, number),
                    content,
                    HEAD.pack(len(trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, number),
                    trailers,
                )
            )
            self._end(stream)
            return
        self.send_head(stream, head)
        self.send(stream, content)
        self.finish(stream, trailers)

    def send_head(self, stream: Stream, head: bytes) -> None:
        """Send the header block of an answer."""
        self._put(HEAD.pack(len(head) << 8 | HEADERS, END_HEADERS, stream.number) + head)

    def send(self, stream: Stream, content: bytes) -> None:
        """Send content, as far as the windows allow; the rest waits."""
        if not stream.unsent:
            stream.unsent_since_s, stream.progress_bytes = perf_counter(), 0
        stream.unsent.append(memoryview(content))
        stream.unsent_bytes += len(content)
        self._unsent_bytes += len(content)
        self._unsent_streams[stream] = None
        self._send_more(stream)
        self._note_unsent()

    def finish(self, stream: Stream, trailers: bytes) -> None:
        """End a stream by its trailer block, after the content that waits."""
        if stream.unsent:
            stream.after = trailers
            return
        self._put(HEAD.pack(len(trailers) << 8 | HEADERS, END_HEADERS | END_STREAM, stream.number) + trailers)
        self._end(stream)

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """End a stream by RST_STREAM."""
        self._send_reset(stream.number, code)
        stream.is_half_closed = True
        self._end(stream)

    def _send_reset(self, number: int, code: ErrorCode) -> None:
        """Send RST_STREAM; what the client sends on the stream until it learns of that is ignored (RFC 9113, 5.1)."""
        self._put(reset_frame(number, code))
        self._were_reset[number] = None
        if len(self._were_reset) > self._server.limits.max_streams:
            del self._were_reset[next(iter(self._were_reset))]

    def drop_unsent(self, stream: Stream) -> None:
        """Drop the content that waits in a stream: an error ends it."""
        self._forget_unsent(stream)

    def grant(self, stream: Stream, n_bytes: int) -> None:
        """Let the client send more content on a stream."""
        stream.receive_window += n_bytes
        self._put(window_update_frame(stream.number, n_bytes))

    def unsent_bytes(self) -> int:
        """Return the number of bytes that the client has not read yet."""
        return self._unsent_bytes + self._transport.get_write_buffer_size()

    def cut_slow_reader(self) -> None:
        """Close without sending the rest."""
        self._server.meter.count_cut("slow_reader")
        reset(self._transport)

    def _send_more(self, stream: Stream) -> None:
        """Send the content that waits in a stream, as far as the windows allow."""
        unsent, number = stream.unsent, stream.number
        while unsent:
            part = unsent[0]
            size = min(len(part), self._send_window, stream.send_window, self._max_frame)
            if size <= 0 and len(part):
                return
            self._send_window -= size
            stream.send_window -= size
            stream.unsent_bytes -= size
            self._unsent_bytes -= size
            self._put(HEAD.pack(size << 8 | DATA, 0, number) + part[:size])
            stream.progress_bytes += size
            if stream.progress_bytes >= MIN_MAX_FRAME:
                stream.unsent_since_s, stream.progress_bytes = perf_counter(), 0
            if size == len(part):
                unsent.popleft()
            else:
                unsent[0] = part[size:]
        self._unsent_streams.pop(stream, None)
        if stream.after is not None:
            trailers, stream.after = stream.after, None
            self.finish(stream, trailers)
        else:
            stream.sent()

    def _forget_unsent(self, stream: Stream) -> None:
        self._unsent_streams.pop(stream, None)
        self._unsent_bytes -= stream.unsent_bytes
        stream.unsent.clear()
        stream.unsent_bytes, stream.after = 0, None

    def _widen(self, stream: Stream | None, n_bytes: int) -> None:
        """Widen the window of a stream, or with None that of the connection."""
        if stream is None:
            self._send_window += n_bytes
            if self._send_window > MAX_WINDOW:
                raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a window of more than 2^31-1 bytes")
            for each in tuple(self._unsent_streams):
                if self._send_window <= 0:
                    break
                self._send_more(each)
            return
        stream.send_window += n_bytes
        if stream.send_window > MAX_WINDOW:
            raise StreamError(ErrorCode.FLOW_CONTROL_ERROR, "a window of more than 2^31-1 bytes")
        if stream.unsent:
            self._send_more(stream)

    def _put(self, frames: bytes) -> None:
        self._pending.append(frames)
        self._pending_bytes += len(frames)
        if not self._in_turn or self._pending_bytes > _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        """Write the pending frames to the socket directly, and hand the transport what the socket does not accept."""
        if not self._pending:
            return
        content = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        transport = self._transport
        if transport.is_closing():
            return
        if self._server.tls_options:
            for start in range(0, len(content), _TLS_WRITE_BYTES):
                transport.write(content[start : start + _TLS_WRITE_BYTES])
        else:
            if not transport.get_write_buffer_size():
                try:
                    sent = os.write(self._descriptor, content)
                except OSError:
                    sent = 0
                if sent == len(content):
                    return
                content = content[sent:]
            transport.write(content)
        self._note_unsent()

    def _note_unsent(self) -> None:
        n_bytes = self.unsent_bytes()
        if n_bytes:
            self._server.unsent.note(self, n_bytes)
        else:
            self._server.unsent.forget(self)
