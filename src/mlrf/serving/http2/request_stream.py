"""One stream of a connection: its flow-control windows and unsent content; a subclass handles what is received."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from mlrf.serving.http2.wire_frames import ErrorCode, StreamError


class Sender(Protocol):
    """A stream's view of its connection."""

    peer: str
    receive_window_of_streams: int
    send_window_of_streams: int

    def answer(self, stream: Stream, head: bytes, content: bytes, trailers: bytes) -> None:
        """Send a whole answer: header block, content, trailer block."""
        ...

    def send_head(self, stream: Stream, head: bytes) -> None:
        """Send the header block of an answer."""
        ...

    def send(self, stream: Stream, content: bytes) -> None:
        """Send content, as far as the windows allow; the rest waits."""
        ...

    def finish(self, stream: Stream, trailers: bytes) -> None:
        """End a stream by its trailer block, after the content that waits."""
        ...

    def drop_unsent(self, stream: Stream) -> None:
        """Drop the content that waits in a stream."""
        ...

    def grant(self, stream: Stream, n_bytes: int) -> None:
        """Let the client send more content on a stream."""
        ...


class Stream:
    """A stream that the client opened. A subclass handles what is received."""

    __slots__ = (
        "after",
        "connection",
        "expected_bytes",
        "is_half_closed",
        "is_over",
        "number",
        "progress_bytes",
        "receive_window",
        "send_window",
        "unsent",
        "unsent_bytes",
        "unsent_since_s",
    )

    def __init__(self, connection: Sender, number: int) -> None:
        self.connection = connection
        self.number = number
        self.receive_window = connection.receive_window_of_streams
        """Bytes that the client may still send."""
        self.send_window = connection.send_window_of_streams
        """Bytes that the client still allows to be sent."""
        self.expected_bytes: int | None = None
        """Content that the client has declared (content-length) and not sent yet; None if it has declared none."""
        self.is_half_closed = False
        """Whether the client has finished sending."""
        self.is_over = False
        """Whether it has ended, for whatever reason."""
        self.unsent: deque[memoryview] = deque()
        """Content that the windows do not allow yet."""
        self.unsent_bytes = 0
        self.unsent_since_s = 0.0
        """Since when content waits, or since when the client last let a frame's length of it out."""
        self.progress_bytes = 0
        """Bytes sent since then: a window of a byte now and then does not extend the time for an answer."""
        self.after: bytes | None = None
        """The trailers to send after the content, which end the stream."""

    def check_content(self, n_bytes: int, *, is_last: bool) -> None:
        """Count content; StreamError if it is more than the window allows, or other than the declared length."""
        if self.receive_window < 0:
            raise StreamError(ErrorCode.FLOW_CONTROL_ERROR, "more content than the stream's window allows")
        if self.expected_bytes is not None:
            self.expected_bytes -= n_bytes
            if self.expected_bytes < 0 or (is_last and self.expected_bytes):
                raise StreamError(ErrorCode.PROTOCOL_ERROR, "content longer or shorter than its content-length")

    def opened(self) -> None:
        """Start the stream, whose headers have been received."""
        raise NotImplementedError

    def received(self, content: bytes) -> None:
        """Process received content."""
        raise NotImplementedError

    def ended(self) -> None:
        """Note that the client has finished sending."""
        raise NotImplementedError

    def sent(self) -> None:
        """Note that all content has been sent."""

    def unread(self, limit_s: float) -> None:
        """Give up: the client has opened no window for the answer for `limit_s`."""
        raise NotImplementedError

    def dropped(self) -> None:
        """Clean up after the stream has ended: it was answered or reset, or the connection was lost."""
        raise NotImplementedError

    def check(self, now_s: float) -> None:
        """Enforce the timeouts."""
        raise NotImplementedError
