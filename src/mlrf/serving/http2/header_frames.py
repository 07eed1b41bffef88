"""Requests opened: header blocks put together and decoded, and a stream for each."""

from __future__ import annotations

from typing import Any

from mlrf.serving.http2.control_frames import PRIORITY_BYTES, RESET_COST, ControlFrames, depends_on
from mlrf.serving.http2.header_blocks import HeaderBlocks
from mlrf.serving.http2.limits import MAX_BLOCK_BYTES
from mlrf.serving.http2.request_stream import Stream
from mlrf.serving.http2.server import Http2Server
from mlrf.serving.http2.wire_frames import (
    END_HEADERS,
    END_STREAM,
    HAS_PRIORITY,
    ErrorCode,
    ProtocolError,
    StreamError,
    without_padding,
)

_DEPENDS_ON_ITSELF = 0x100
"""Added to the flags of a HEADERS frame; its block is decoded before the error ends the stream, as the table depends on it."""


class HeaderFrames(ControlFrames):
    """A connection that opens streams."""

    __slots__ = ("_blocks", "_open_block")

    def __init__(self, server: Http2Server) -> None:
        super().__init__(server)
        self._blocks: HeaderBlocks[Any] = HeaderBlocks(server.read_head)
        self._open_block: tuple[int, int, bytearray] | None = None
        """Stream, flags and bytes of a header block that is continued."""

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        payload = without_padding(flags, payload)
        if flags & HAS_PRIORITY:
            if len(payload) < PRIORITY_BYTES:
                raise ProtocolError(ErrorCode.FRAME_SIZE_ERROR, "a priority that is not 5 bytes")
            if depends_on(number, payload):
                flags |= _DEPENDS_ON_ITSELF
            payload = payload[PRIORITY_BYTES:]
        if not flags & END_HEADERS:
            self._open_block = number, flags, bytearray(payload)
            self._block_since_s = self._active_s
            return
        self._begin_stream(number, flags, payload)

    def _begin_stream(self, number: int, flags: int, block: bytes) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            self._trailers(stream, flags, block)
            return
        if number <= self._last or not number & 1:
            self._drop_headers(number, block)
            return
        self._last = number
        head, content_bytes = self._blocks.request(block)
        if flags & _DEPENDS_ON_ITSELF:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")
        if self._goaway_at is not None:
            # The client learns from GOAWAY that this request was not processed.
            self._count_control()
            return
        if content_bytes and flags & END_STREAM:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "a content-length without content")
        limits = self._server.limits
        if len(self._streams) >= limits.max_streams or self._server.n_streams >= limits.max_all_streams:
            raise StreamError(ErrorCode.REFUSED_STREAM, "more requests at once than the settings allow")
        # Requests pay for the frames that come with them; one that the client resets costs more than it pays.
        if self._n_control:
            self._n_control = max(0, self._n_control - RESET_COST)
        stream = self._server.open_stream(self, number, head)
        stream.expected_bytes = content_bytes
        self._streams[number] = stream
        self._server.n_streams += 1
        if flags & END_STREAM:
            stream.is_half_closed = True
        stream.opened()
        if flags & END_STREAM and not stream.is_over:
            stream.ended()

    def _drop_headers(self, number: int, block: bytes) -> None:
        """Ignore headers in transit for a stream that this server has reset or not opened; ProtocolError for any other."""
        if not number & 1:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "clients must use odd stream identifiers")
        is_beyond_goaway = self._goaway_at is not None and number > self._goaway_at
        if number not in self._were_reset and not is_beyond_goaway:
            raise ProtocolError(ErrorCode.STREAM_CLOSED, "HEADERS for a stream that has ended")
        self._count_control()
        # The client's compression table has the fields of this block too.
        self._blocks.drop(block)

    def _trailers(self, stream: Stream, flags: int, block: bytes) -> None:
        self._blocks.trailers(block)
        if stream.is_half_closed:
            raise StreamError(ErrorCode.STREAM_CLOSED, "HEADERS after the end of the stream")
        if flags & _DEPENDS_ON_ITSELF:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "a stream that depends on itself")
        if not flags & END_STREAM:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "trailers that do not end the stream")
        if stream.expected_bytes:
            raise StreamError(ErrorCode.PROTOCOL_ERROR, "content shorter than its content-length")
        stream.is_half_closed = True
        stream.ended()

    def _continue_block(self, flags: int, number: int, payload: bytes) -> None:
        if self._open_block is None or self._open_block[0] != number:
            raise ProtocolError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of no header block")
        _, first_flags, block = self._open_block
        block += payload
        self._count_control()
        if len(block) > MAX_BLOCK_BYTES:
            raise ProtocolError(ErrorCode.ENHANCE_YOUR_CALM, f"headers of more than {MAX_BLOCK_BYTES} bytes")
        if flags & END_HEADERS:
            self._open_block, self._block_since_s = None, 0.0
            self._begin_stream(number, first_flags, bytes(block))
