"""The frames that open no stream and carry no content: settings, windows, resets, priorities."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mlrf.serving.http2.limited_connection import LimitedConnection
from mlrf.serving.http2.request_stream import Stream
from mlrf.serving.http2.server import Http2Server
from mlrf.serving.http2.wire_frames import (
    ACK,
    CONTINUATION,
    ENABLE_PUSH,
    GOAWAY,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    MAX_MAX_FRAME,
    MAX_WINDOW,
    MIN_MAX_FRAME,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    ProtocolError,
    StreamError,
    frame,
    read_settings,
    read_word,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PRIORITY_BYTES = 5
_OF_CONNECTION, _OF_STREAM = (SETTINGS, PING, GOAWAY), (PRIORITY, RST_STREAM)
RESET_COST = 2
"""Cost of a request that is reset, or that the client makes the server reset, beyond its credit (see `_begin_stream`)."""
_STREAMS_PER_COST = 16
"""A frame that changes the windows of many streams counts once more for each so many of them."""
_PAYING_BYTES = 1 << 10
"""A window update that releases this much content costs nothing, and pays for one that releases less."""


class ControlFrames(LimitedConnection):
    """A connection that processes control frames."""

    __slots__ = ("_has_settings",)

    def __init__(self, server: Http2Server) -> None:
        super().__init__(server)
        self._has_settings = False

    def _continue_block(self, flags: int, number: int, payload: bytes) -> None:
        raise NotImplementedError

    def _of_no_stream(self, number: int, what: str, n_bytes: int = 0) -> None:
        """Handle a frame of a stream that is not open: one that has ended meanwhile may still get frames, others may not."""
        if not number or number > self._last or not number & 1:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, f"{what} for a stream that was never opened")
        if not n_bytes:
            # Content is bounded by the connection's window, and much of it may be in transit when its request is refused.
            self._count_control()

    def _control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind not in (CONTINUATION, WINDOW_UPDATE):
            self._count_control()
        if kind in _OF_CONNECTION and number:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a frame of the connection with a stream")
        if kind in _OF_STREAM and not number:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "a frame of a stream without one")
        take = self._BY_TYPE.get(kind)
        if take is not None:  # otherwise of a type that is ignored (RFC 9113, 4.1)
            take(self, flags, number, payload)

    def _settings(self, flags: int, _number: int, payload: bytes) -> None:
        self._has_settings = True
        if flags & ACK:
            if payload:
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "an acknowledgement with settings")
            self._is_settled = True
            return
        settings = read_settings(payload)
        self._count_control(len(settings))
        window = None
        for name, value in settings:
            if name == INITIAL_WINDOW_SIZE:
                if value > MAX_WINDOW:
                    raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")
                window = value
            elif name == MAX_FRAME_SIZE:
                if not MIN_MAX_FRAME <= value <= MAX_MAX_FRAME:
                    raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE out of its range")
                self._max_frame = value
            elif name == ENABLE_PUSH and value > 1:
                raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH that is neither 0 nor 1")
        if window is not None:
            # Only the last of several counts: changing all windows once for each entry of a frame took a tenth of a second.
            self._change_windows(window)
        self._put(frame(SETTINGS, ACK, 0))

    def _change_windows(self, size: int) -> None:
        self._count_control(len(self._streams) // _STREAMS_PER_COST)
        change, self.send_window_of_streams = size - self.send_window_of_streams, size
        for stream in tuple(self._streams.values()):
            stream.send_window += change
            if stream.send_window > MAX_WINDOW:
                raise ProtocolError(ErrorCode.FLOW_CONTROL_ERROR, "a window of more than 2^31-1 bytes")
        if change > 0:
            self._widen(None, 0)

    def _window_update(self, _flags: int, number: int, payload: bytes) -> None:
        n_bytes = read_word(payload, "WINDOW_UPDATE") & MAX_WINDOW
        stream = self._streams.get(number)
        if number and stream is None:
            self._of_no_stream(number, "WINDOW_UPDATE")
            return
        if not n_bytes:
            kind = ProtocolError if stream is None else StreamError
            raise kind(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        n_waiting, unsent_bytes = len(self._unsent_streams), self._unsent_bytes
        self._widen(stream, n_bytes)
        if unsent_bytes - self._unsent_bytes >= _PAYING_BYTES:
            self._n_control = max(0, self._n_control - 1)
        else:
            self._count_control(1 if number else 1 + n_waiting // _STREAMS_PER_COST)

    def _reset_by_client(self, _flags: int, number: int, payload: bytes) -> None:
        read_word(payload, "RST_STREAM")
        stream = self._streams.get(number)
        if stream is None:
            self._of_no_stream(number, "RST_STREAM")
            return
        self._n_control += RESET_COST
        stream.is_half_closed = True
        self._end(stream)

    def _priority(self, _flags: int, number: int, payload: bytes) -> None:
        if len(payload) != PRIORITY_BYTES:
            raise StreamError(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY that is not 5 bytes")
        if depends_on(number, payload):
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")

    def _push_promise(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _end(self, stream: Stream) -> None:
        """Forget a stream that is over; a client that has not finished sending is asked to stop."""
        if stream.is_over:
            return
        stream.is_over = True
        self._server.n_streams -= 1
        self._streams.pop(stream.number, None)
        if stream.unsent:
            self._forget_unsent(stream)
        if not stream.is_half_closed and not self._closing_since_s:
            self._send_reset(stream.number, ErrorCode.NO_ERROR)
        stream.dropped()
        if self._goaway_at is not None:
            self._close_if_done()

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        self._continue_block(flags, number, payload)

    _BY_TYPE: ClassVar[dict[int, Callable[[ControlFrames, int, int, bytes], None]]] = {
        CONTINUATION: _continuation,
        SETTINGS: _settings,
        PING: LimitedConnection.ping,
        WINDOW_UPDATE: _window_update,
        RST_STREAM: _reset_by_client,
        PRIORITY: _priority,
        PUSH_PROMISE: _push_promise,
    }


def depends_on(number: int, priority: bytes) -> bool:
    """Return whether a priority, which is otherwise ignored (RFC 9113, 5.3.2), makes its stream depend on stream `number`."""
    return int.from_bytes(priority[:4], "big") & MAX_WINDOW == number
