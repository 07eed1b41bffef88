"""A strict incremental decoder of the chunked transfer coding (RFC 9112, 7.1), and a sink for refused bodies.

llhttp decodes chunks too, but does not report at which byte a message ended, and a pipelined request begins there.
"""

from __future__ import annotations

from mlrf.core.errors import BodyTooLargeError, MalformedRequestError
from mlrf.core.lazy_pattern import lazy_pattern

_TOKEN = rb"[!#-'*+.0-9A-Z^-z|~-]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_EXTENSION = rb"[ \t]*;[ \t]*" + _TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?"
_SIZE_LINE = lazy_pattern(rb"([0-9A-Fa-f]{1,8})(?:" + _EXTENSION + rb")*")
"""RFC 9112, 7.1 and 7.1.1: parsers differ on unclosed quotes and trailing spaces, so both are refused."""
_TRAILER = lazy_pattern(rb"[!#-'*+.0-9A-Z^-z|~-]+:[\t\x20-\x7e\x80-\xff]*")
"""A header field (RFC 9110, 5.1 and 5.5): anything else could be a smuggled request, if a proxy saw the body end before it."""
_MAX_LINE_BYTES = 1024
_MAX_TRAILER_BYTES = 8192
_FREE_CHUNKS = 1024
_LEAST_CHUNK_BYTES = 256
"""Average size required of the chunks after the first `_FREE_CHUNKS`: a byte sent as a chunk of its own costs a thousand times
more than one in a long chunk."""


class ChunkedBody:
    """Decodes one chunked body of at most `max_bytes`: call `feed` until `done`, then read `body`."""

    __slots__ = ("_left", "_line", "_max_bytes", "_n_chunks", "_state", "_trailer_bytes", "body", "done")

    def __init__(self, max_bytes: int) -> None:
        self.body = bytearray()
        self.done = False
        self._max_bytes = max_bytes
        self._left = 0
        self._n_chunks = 0
        self._line = bytearray()
        self._state = self._size
        self._trailer_bytes = 0

    def feed(self, data: bytes, start: int) -> int:
        """Decode bytes from `start` and return the index where the body ended, or the length of `data`.

        Raises MalformedRequestError for an invalid chunk and BodyTooLargeError past the limit.
        """
        position = start
        while position < len(data) and not self.done:
            position = self._state(data, position)
        return position

    def _size(self, data: bytes, position: int) -> int:
        line, position = self._take_line(data, position)
        if line is None:
            return position
        matched = _SIZE_LINE.fullmatch(line)
        if matched is None:
            raise MalformedRequestError("a chunk of the body does not start with a chunk size (RFC 9112, 7.1)")
        self._left = int(matched[1], 16)
        if len(self.body) + self._left > self._max_bytes:
            raise BodyTooLargeError(f"the body is longer than {self._max_bytes} bytes", max_bytes=self._max_bytes)
        self._n_chunks += 1
        if (self._n_chunks - _FREE_CHUNKS) * _LEAST_CHUNK_BYTES > len(self.body):
            raise MalformedRequestError(
                f"the body has more than {_FREE_CHUNKS} almost empty chunks; send larger chunks"
            )
        self._state = self._data if self._left else self._trailer
        return position

    def _data(self, data: bytes, position: int) -> int:
        taken = data[position : position + self._left]
        self.body += taken
        self._left -= len(taken)
        if not self._left:
            self._state = self._data_end
        return position + len(taken)

    def _data_end(self, data: bytes, position: int) -> int:
        line, position = self._take_line(data, position)
        if line is None:
            return position
        if line:
            raise MalformedRequestError("a chunk of the body is longer than its size")
        self._state = self._size
        return position

    def _trailer(self, data: bytes, position: int) -> int:
        line, position = self._take_line(data, position)
        if line is None:
            return position
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > _MAX_TRAILER_BYTES:
            raise MalformedRequestError("the trailers of the body are too long")
        if line and _TRAILER.fullmatch(line) is None:
            raise MalformedRequestError("the trailer after the last chunk of the body is not a header field")
        self.done = not line
        return position

    def _take_line(self, data: bytes, position: int) -> tuple[bytes | None, int]:
        """Return a complete line without its CRLF (None while it is incomplete) and the index to read on from."""
        end = data.find(b"\n", position)
        stop = len(data) if end < 0 else end + 1
        self._line += data[position:stop]
        if len(self._line) > _MAX_LINE_BYTES:
            raise MalformedRequestError("a line between the chunks of the body is too long")
        if end < 0:
            return None, stop
        line = bytes(self._line)
        self._line.clear()
        if not line.endswith(b"\r\n") or b"\r" in line[:-2]:
            raise MalformedRequestError("a line between the chunks of the body does not end in CRLF")
        return line[:-2], stop


class DroppedBody:
    """Discards the rest of a body whose request was refused before the body was read."""

    __slots__ = ("_left",)

    def __init__(self, n_bytes: int) -> None:
        self._left = n_bytes

    @property
    def done(self) -> bool:
        """Whether the body has ended."""
        return not self._left

    def feed(self, data: bytes, start: int) -> int:
        """Discard bytes from `start` and return the index where the body ended, or the length of `data`."""
        taken = min(self._left, len(data) - start)
        self._left -= taken
        return start + taken
