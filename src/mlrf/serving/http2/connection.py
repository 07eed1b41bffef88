"""The protocol of one HTTP/2 connection: frames in, streams opened and fed, frames out, in one synchronous call chain."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, cast

from mlrf.serving.http2.control_frames import RESET_COST
from mlrf.serving.http2.header_frames import HeaderFrames
from mlrf.serving.http2.limits import MAX_LIST_BYTES
from mlrf.serving.http2.server import Http2Server
from mlrf.serving.http2.wire_frames import (
    CONTINUATION,
    DATA,
    ENABLE_PUSH,
    END_STREAM,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    INITIAL_WINDOW,
    KIND_OFFSET,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    MAX_WINDOW,
    MIN_MAX_FRAME,
    PADDED,
    PREFACE,
    SETTINGS,
    ErrorCode,
    ProtocolError,
    StreamError,
    settings_frame,
    window_update_frame,
    without_padding,
)

_HEADERS = bytes((HEADERS,))
_CONNECTION_WINDOW = 8 << 20
"""Bytes of all streams in transit; the bytes that a worker keeps are bounded by its budget for unfinished bodies."""
_STREAM_BITS = MAX_WINDOW
_WRITE_HIGH_WATER_BYTES = 256 << 10
_AHEAD_BYTES = 64 << 10
"""Bytes read ahead while this connection waits for its next turn."""
_SHORT_DATA = 64 << 8
"""The first word of a DATA frame of 64 bytes. Shorter ones wait for their turn, as other frames do: one read holds many."""


class Http2Connection(HeaderFrames):
    """The server's side of one connection."""

    __slots__ = (
        "__weakref__",
        "_blocks",
        "_has_preface",
        "_has_settings",
        "_open_block",
        "_receive_window",
        "_turn",
        "peer",
    )

    def __init__(self, server: Http2Server) -> None:
        super().__init__(server)
        self._has_preface = False
        self._receive_window = _CONNECTION_WINDOW
        self._turn: Any = None
        """The entry in the run queue, while the received bytes wait for their turn."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the settings; over the limit of connections, close."""
        self._transport = cast("asyncio.Transport", transport)
        self._descriptor = transport.get_extra_info("socket").fileno()
        self._transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER_BYTES)
        address = transport.get_extra_info("peername")
        self.peer = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else ""
        if not self._server.opened(self):
            self._transport.abort()
            return
        settings = {
            ENABLE_PUSH: 0,
            MAX_CONCURRENT_STREAMS: self._server.limits.max_streams,
            MAX_HEADER_LIST_SIZE: MAX_LIST_BYTES,
        }
        self._put(settings_frame(settings) + window_update_frame(0, _CONNECTION_WINDOW - INITIAL_WINDOW))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Drop the streams in progress."""
        if self._turn is not None:
            self._turn.cancel()
        self._closing_since_s = self._closing_since_s or perf_counter()
        for stream in tuple(self._streams.values()):
            self._end(stream)
        self._server.unsent.forget(self)
        self._server.closed(self)

    def pause_writing(self) -> None:
        """Stop reading: the client is not reading its answers."""
        self._paused_since_s = self._paused_since_s or perf_counter()
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Continue where `pause_writing` stopped."""
        self._paused_since_s = 0.0
        if self._frame_since_s:
            # The rest of the frame could not be received meanwhile.
            self._frame_since_s = perf_counter()
        if not self._closing_since_s and not self._transport.is_closing():
            self._transport.resume_reading()
            if self._turn is None:
                self._turn = self._server.runtime.run_queue.put(self._take_turn)

    def eof_received(self) -> bool:
        """Close the connection: a client that has shut down its side reads no more gRPC answers."""
        return False

    def data_received(self, data: bytes) -> None:
        """Process every complete frame, and buffer the rest."""
        if self._closing_since_s:
            return
        now_s = self._active_s = perf_counter()
        self._pinged_s = 0.0
        if self._buffer or self._turn is not None:
            self._buffer += data
            if self._turn is not None:
                if len(self._buffer) > _AHEAD_BYTES:
                    self._transport.pause_reading()
                return
            if self._frame_since_s and self._buffer[KIND_OFFSET : KIND_OFFSET + 1] == _HEADERS:
                self._active_s = self._frame_since_s
            data = self._take_buffer()
            if not data:
                return
        queue = self._server.runtime.run_queue
        if queue.is_behind:
            self._buffer += data
            self._turn = queue.put(self._take_turn)
            return
        self._read(data, now_s + queue.slice_s(self._server.runtime.admission.n_connections))

    def _take_turn(self, slice_s: float) -> None:
        """Process more of the received frames, for at most `slice_s` seconds."""
        self._turn = None
        if self._closing_since_s or self._transport.is_closing() or self._paused_since_s:
            return
        self._read(self._take_buffer(), perf_counter() + slice_s)
        if self._turn is None and not (self._closing_since_s or self._paused_since_s or self._transport.is_closing()):
            self._transport.resume_reading()

    def _take_buffer(self) -> bytes:
        """Return the buffered bytes and clear the buffer; return none while they are a part of one frame."""
        buffer = self._buffer
        if self._has_preface:
            n_bytes = HEAD_BYTES + int.from_bytes(buffer[:KIND_OFFSET], "big")
            if len(buffer) < HEAD_BYTES or len(buffer) < n_bytes <= HEAD_BYTES + MIN_MAX_FRAME:
                self._frame_since_s = (self._frame_since_s or perf_counter()) if buffer else 0.0
                return b""
        self._frame_since_s = 0.0
        data = bytes(buffer)
        buffer.clear()
        return data

    def _read(self, data: bytes, until_s: float) -> None:
        self._in_turn = True
        try:
            self._read_frames(data, until_s)
        except ProtocolError as error:
            self._server.meter.count_cut("protocol_error")
            self._end_with(error)
        finally:
            self._in_turn = False
            self._flush()

    def _read_frames(self, data: bytes, until_s: float) -> None:
        position, size = 0, len(data)
        if not self._has_preface:
            if not data.startswith(PREFACE):
                if not PREFACE.startswith(data):
                    raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2; gRPC needs it")
                self._buffer += data
                return
            self._has_preface = True
            position = len(PREFACE)
        n_taken = 0
        while size - position >= HEAD_BYTES:
            word, flags, number = HEAD.unpack_from(data, position)
            end = position + HEAD_BYTES + (word >> 8)
            if word >> 8 > MIN_MAX_FRAME:
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a frame longer than 16,384 bytes")
            if end > size:
                break
            kind = word & 0xFF
            if self._closing_since_s:
                return
            if self._paused_since_s or ((kind != DATA or word < _SHORT_DATA) and n_taken and perf_counter() > until_s):
                self._buffer += data[position:]
                self._wait_for_turn()
                return
            n_taken += 1
            self._take(kind, flags, number & _STREAM_BITS, data[position + HEAD_BYTES : end])
            position = end
        if position < size:
            self._buffer += data[position:]
            self._frame_since_s = perf_counter()

    def _wait_for_turn(self) -> None:
        if not self._paused_since_s:
            self._transport.pause_reading()
            self._turn = self._server.runtime.run_queue.put(self._take_turn)

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._open_block is not None and kind != CONTINUATION:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a header block was interrupted")
        if not self._has_settings and kind != SETTINGS:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        try:
            if kind == DATA:
                self._data(flags, number, payload)
            elif kind == HEADERS:
                self._headers(flags, number, payload)
            else:
                self._control(kind, flags, number, payload)
        except StreamError as error:
            stream = self._streams.get(number)
            if stream is None:
                self._count_control()
                self._send_reset(number, error.code)
            else:
                # As a reset by the client, who may cause it as often.
                self._count_control(1 + RESET_COST)
                self.reset(stream, error.code)

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._receive_window -= size
        if self._receive_window < _CONNECTION_WINDOW // 2:
            self._widen_connection()
        if flags & PADDED:
            payload = without_padding(flags, payload)
        stream = self._streams.get(number)
        if stream is None:
            self._of_no_stream(number, "DATA", len(payload))
            return
        if stream.is_half_closed:
            raise StreamError(ErrorCode.STREAM_CLOSED, "content after the end of the stream")
        stream.receive_window -= size
        is_last = flags & END_STREAM
        if stream.receive_window < 0 or stream.expected_bytes is not None:
            stream.check_content(len(payload), is_last=bool(is_last))
        if is_last:
            stream.is_half_closed = True
        if payload:
            stream.received(payload)
        elif not is_last:
            self._count_control()
        if is_last and not stream.is_over:
            stream.ended()

    def _widen_connection(self) -> None:
        if self._receive_window < 0:
            raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "more content than the connection's window allows")
        self._put(window_update_frame(0, _CONNECTION_WINDOW - self._receive_window))
        self._receive_window = _CONNECTION_WINDOW
