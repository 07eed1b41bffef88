"""A connection that enforces limits: timeouts, frames that carry no request or content; and how a connection ends."""

from __future__ import annotations

from contextlib import suppress
from time import perf_counter

from mlrf.serving.http2.limits import MAX_CONTROL_FRAMES
from mlrf.serving.http2.request_stream import Stream
from mlrf.serving.http2.sending import Sending
from mlrf.serving.http2.server import Http2Server
from mlrf.serving.http2.wire_frames import (
    ACK,
    DATA,
    KIND_OFFSET,
    MAX_WINDOW,
    PING,
    ErrorCode,
    ProtocolError,
    frame,
    goaway_frame,
)

_LINGER_S = 1.0
"""Seconds for which a client may continue to send after the end, so that it reads the last frames instead of a reset."""
_IDLE_S = 1.0
_DATA = bytes((DATA,))
_DRAIN_PING, _LIFE_PING = b"draining", b"liveness"


class LimitedConnection(Sending):
    """A connection that enforces limits."""

    __slots__ = (
        "_active_s",
        "_block_since_s",
        "_buffer",
        "_checked_last",
        "_frame_since_s",
        "_goaway_at",
        "_idle_since_s",
        "_is_settled",
        "_last",
        "_n_control",
        "_opened_s",
        "_pinged_s",
        "_streams",
        "_stuck_since_s",
        "awaits_settling",
    )

    def __init__(self, server: Http2Server) -> None:
        super().__init__(server)
        self._streams: dict[int, Stream] = {}
        self._last = 0
        """The last stream that the client opened."""
        self._goaway_at: int | None = None
        """The last stream that is still answered, once the connection is ending."""
        self._buffer = bytearray()
        """Received bytes: frames that wait for their turn, or a part of one frame."""
        self._opened_s = perf_counter()
        self._active_s = self._opened_s
        """When the bytes received last arrived, or if they complete a frame of headers, when that began."""
        self._frame_since_s = 0.0
        """When the incomplete frame in the buffer began; 0 without one."""
        self._idle_since_s = self._opened_s
        """When a check last found a call in progress, or begun since the check before: other frames do not count."""
        self._checked_last = 0
        """The last stream that the client had opened at that check."""
        self._stuck_since_s = 0.0
        """Since when the socket has not accepted bytes that wait to be sent; 0 if none wait."""
        self._block_since_s = 0.0
        """When an incomplete header block began; 0 without one."""
        self._is_settled = False
        """Whether the client has acknowledged the settings."""
        self._n_control = 0
        self._pinged_s = 0.0
        """When a ping was sent that is not acknowledged; 0 without one."""
        self.awaits_settling = False
        """Whether the client has not acknowledged yet that the connection will end."""

    @property
    def is_ending(self) -> bool:
        """Whether no request is in progress, and none will be accepted."""
        return self._goaway_at is not None and not self._streams

    def is_idle(self, now_s: float) -> bool:
        """Return whether the connection has been idle long enough to be closed for a new one."""
        is_calling = self._streams or self._block_since_s or self._last != self._checked_last
        return not is_calling and now_s - self._idle_since_s > _IDLE_S

    def check(self, now_s: float) -> None:
        """Enforce the timeouts."""
        self._n_control = 0
        if self._closing_since_s:
            self._check_closing(now_s)
        elif self._reads_nothing(now_s):
            self.cut_slow_reader()
        elif (error := self._late(now_s)) is not None:
            self._server.meter.count_cut("protocol_error")
            self._end_with(error)
        else:
            self._check_life(now_s)
            limit_s = self._server.limits.write_timeout_s
            for stream in [each for each in self._unsent_streams if now_s - each.unsent_since_s > limit_s]:
                stream.unread(limit_s)
            for stream in tuple(self._streams.values()):
                stream.check(now_s)

    def _check_closing(self, now_s: float) -> None:
        waits_s = self._server.limits.write_timeout_s if self._transport.get_write_buffer_size() else _LINGER_S
        if now_s - self._closing_since_s > waits_s:
            self._transport.abort()

    def _late(self, now_s: float) -> ProtocolError | None:
        """Return the error of a client that takes too long with its settings, with a header block or with a frame."""
        limits = self._server.limits
        limit_s = limits.header_timeout_s
        if not self._is_settled and now_s - self._opened_s > limit_s:
            return ProtocolError(ErrorCode.SETTINGS_TIMEOUT, "the settings were not acknowledged in time")
        if self._block_since_s and now_s - self._block_since_s > limit_s:
            return ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "the headers were incomplete for too long")
        if self._frame_since_s and not self._paused_since_s:
            is_content = self._buffer[KIND_OFFSET : KIND_OFFSET + 1] == _DATA
            if now_s - self._frame_since_s > (limits.request_timeout_s if is_content else limit_s):
                return ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "a frame was incomplete for too long")
        return None

    def _check_life(self, now_s: float) -> None:
        """Close an idle connection; ping a client that waits for an answer, as it may be gone without closing."""
        limits = self._server.limits
        if self._streams or self._last != self._checked_last:
            self._idle_since_s, self._checked_last = now_s, self._last
        if self._pinged_s:
            if now_s - self._pinged_s > limits.write_timeout_s:
                self._transport.abort()
        elif self._streams:
            if now_s - self._active_s > limits.idle_timeout_s:
                self._pinged_s = now_s
                self._put(frame(PING, 0, 0, _LIFE_PING))
        elif now_s - self._idle_since_s > limits.idle_timeout_s:
            self.close_gently()

    def announce_end(self) -> None:
        """Tell the client to send its next requests elsewhere; those that it sends meanwhile are answered."""
        if self._closing_since_s:
            return
        self.awaits_settling = True
        self._put(goaway_frame(MAX_WINDOW, ErrorCode.NO_ERROR) + frame(PING, 0, 0, _DRAIN_PING))

    def end_when_done(self) -> None:
        """Answer the requests in progress but no later ones, and close."""
        self.awaits_settling = False
        if self._goaway_at is None and not self._closing_since_s:
            self._goaway_at = self._last
            self._put(goaway_frame(self._last, ErrorCode.NO_ERROR))
            self._close_if_done()

    def close_gently(self) -> None:
        """Close a connection without requests."""
        if not self._closing_since_s:
            self._put(goaway_frame(self._last, ErrorCode.NO_ERROR))
            self._close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _acknowledged(self, payload: bytes) -> None:
        """Process the acknowledgement of a ping."""
        if payload == _DRAIN_PING and self.awaits_settling:
            self.end_when_done()
        elif payload == _LIFE_PING:
            self._pinged_s = 0.0

    def ping(self, flags: int, _number: int, payload: bytes) -> None:
        """Acknowledge a ping, or process an acknowledgement."""
        if len(payload) != len(_LIFE_PING):
            raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "PING that is not 8 bytes")
        if flags & ACK:
            self._acknowledged(payload)
        else:
            self._put(frame(PING, ACK, 0, payload))

    def _count_control(self, n: int = 1) -> None:
        """Count a frame that carries no request, as `n` frames if it takes longer than most."""
        self._n_control += n
        if self._n_control > MAX_CONTROL_FRAMES:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that carry no request")

    def _reads_nothing(self, now_s: float) -> bool:
        """Return whether the socket has accepted nothing for longer than the write timeout."""
        limit_s = self._server.limits.write_timeout_s
        if not self._transport.get_write_buffer_size():
            self._stuck_since_s = 0.0
        elif not self._stuck_since_s:
            self._stuck_since_s = now_s
        return bool(self._stuck_since_s) and now_s - self._stuck_since_s > limit_s

    def _end_with(self, error: ProtocolError) -> None:
        """Send GOAWAY with the reason, and close."""
        self._put(goaway_frame(self._last, error.code, str(error)))
        self._close()

    def _close_if_done(self) -> None:
        if self.is_ending and not self._closing_since_s:
            self._close()

    def _close(self) -> None:
        self._closing_since_s = perf_counter()
        self._flush()
        for stream in tuple(self._streams.values()):
            self._end(stream)
        if self._transport.can_write_eof() and not self._transport.is_closing():
            with suppress(OSError):  # the client may have closed the connection meanwhile
                self._transport.write_eof()
        else:
            self._transport.close()
