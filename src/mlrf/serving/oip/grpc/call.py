"""Calls in progress: messages put together from the content of a stream, and how their answers are sent.

1. A key is checked when the headers arrive, before any of the message is read.
2. The bytes of incomplete and waiting messages count against the worker's one budget for unfinished bodies.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable
from time import perf_counter
from typing import Any, Final, Protocol

from mlrf.core.errors import BodyTooLargeError, MalformedRequestError, MlrfError, NotReadyError, RequestTimeoutError
from mlrf.serving.http2.request_stream import Sender, Stream
from mlrf.serving.http2.wire_frames import INITIAL_WINDOW
from mlrf.serving.oip.grpc.call_head import CallHead
from mlrf.serving.oip.grpc.call_status import HEAD
from mlrf.serving.oip.grpc.caller import Caller
from mlrf.serving.oip.grpc.compression import ENCODINGS, Message
from mlrf.serving.oip.grpc.message_handler import RefusedCallError
from mlrf.serving.runtime.admission import Admission
from mlrf.serving.runtime.deadlines import too_late

_PREFIX: Final = struct.Struct(">BI")
"""Before each message: whether it is compressed, and its length."""
_WINDOW_LOW: Final = INITIAL_WINDOW // 2
_LATE_S: Final = 0.5
"""How long after its deadline a call is ended here; the caller has given up itself."""


class Handling(Protocol):
    """A call's view of what handles it: limits, and the handler of its messages."""

    admission: Admission
    max_message_bytes: int
    request_timeout_s: float
    idle_timeout_s: float
    is_draining: bool

    def check(self, call: Call) -> bool:
        """Return whether the caller may have explanations; RefusedCallError if its key does not permit the call."""
        ...

    def answer(self, call: Call, body: bytes, *, may_explain: bool) -> bytes | Awaitable[bytes]:
        """Return a message's answer, or an awaitable of it; both raise RefusedCallError."""
        ...

    def inflated(self, call: Call, message: Message) -> Awaitable[bytes]:
        """Return a long message, decompressed in the worker's thread; the awaitable raises MlrfError."""
        ...

    def refusal(self, call: Call, fault: Exception) -> RefusedCallError:
        """Return the status of a call that ends before a message is answered."""
        ...

    def ended(self, call: Call) -> None:
        """Forget a call that is over."""
        ...


class Call(Stream):
    """One call. A subclass handles its messages."""

    __slots__ = ("_buffer", "_handler", "_reserved", "_task", "began_s", "caller", "has_head", "head")

    def __init__(self, connection: Sender, number: int, head: CallHead, handler: Handling) -> None:
        super().__init__(connection, number)
        self.head = head
        self._handler = handler
        self.began_s = perf_counter()
        self.caller = Caller(
            self.began_s + head.timeout_s if head.timeout_s else 0.0,
            connection.peer,
            head.authorization,
            head.request_id,
            head.traceparent,
        )
        self._buffer: bytearray | None = None
        self._reserved = 0
        self._task: asyncio.Future[Any] | None = None
        self.has_head = False
        """Whether the header block of the answer has been sent."""

    def message(self, message: Message) -> None:
        """Process a complete message."""
        raise NotImplementedError

    def received(self, content: bytes) -> None:
        """Put messages together; each complete one goes to `message`."""
        buffer = self._buffer
        if buffer is not None:
            if not self._reserve(len(content)):
                return
            buffer += content
            if self._is_incomplete(buffer):
                self._widen()
                return
            content = bytes(buffer)
            self._buffer = None
            self._release(len(content))
        position, size = 0, len(content)
        while position < size and not self.is_over:
            start = position + _PREFIX.size
            if start > size:
                break
            is_compressed, n_bytes = _PREFIX.unpack_from(content, position)
            if n_bytes > self._handler.max_message_bytes or is_compressed > 1:
                self.fail(self._unacceptable(is_compressed, n_bytes))
                return
            end = start + n_bytes
            if end > size:
                break
            body = content[start:end]
            position = end
            if is_compressed and self.head.encoding not in ENCODINGS:
                self.fail(
                    MalformedRequestError("a message is compressed, but grpc-encoding names neither gzip nor deflate")
                )
                return
            self.message(Message(body, self.head.encoding.decode() if is_compressed else ""))
        if position < size and not self.is_over and self._reserve(size - position):
            self._buffer = bytearray(content[position:])
            self._widen()

    def fail(self, fault: Exception) -> None:
        """End the call with the status of an error."""
        self.refuse(self._handler.refusal(self, fault))

    def refuse(self, refused: RefusedCallError) -> None:
        """End the call with a status."""
        if self.is_over:
            return
        if self.unsent:
            self.connection.drop_unsent(self)
        block = refused.block()
        self.connection.finish(self, block if self.has_head else HEAD + block)

    def unread(self, limit_s: float) -> None:
        """End a call whose answer the client does not read."""
        self.fail(RequestTimeoutError(f"the client did not read its responses for {limit_s:g} s"))

    def dropped(self) -> None:
        """Release what the call holds."""
        self._buffer = None
        self._release(self._reserved)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self._handler.ended(self)

    def check(self, now_s: float) -> None:
        """Enforce the caller's deadline."""
        if self.caller.deadline_s and now_s > self.caller.deadline_s + _LATE_S:
            self.fail(too_late())

    def _unacceptable(self, is_compressed: int, n_bytes: int) -> MlrfError:
        if is_compressed > 1:
            return MalformedRequestError("a message does not begin with the byte 0 or 1, as gRPC's framing requires")
        most = self._handler.max_message_bytes
        return BodyTooLargeError(f"a message of {n_bytes} bytes is longer than {most} bytes", max_bytes=most)

    def _is_incomplete(self, buffer: bytearray) -> bool:
        """Whether more of a message must arrive before it can be accepted or refused."""
        if len(buffer) < _PREFIX.size:
            return True
        n_bytes = int.from_bytes(buffer[1:5], "big")
        return buffer[0] <= 1 and len(buffer) - _PREFIX.size < n_bytes <= self._handler.max_message_bytes

    def _widen(self) -> None:
        """Let the client send the rest of the message that has begun."""
        buffer = self._buffer
        if buffer is None or self.is_over:
            return
        if len(buffer) < _PREFIX.size:
            n_missing = INITIAL_WINDOW if self.receive_window < _WINDOW_LOW else 0
        else:
            n_missing = int.from_bytes(buffer[1:5], "big") + _PREFIX.size - len(buffer)
        if n_missing > self.receive_window:
            self.connection.grant(self, n_missing - self.receive_window)

    def _reserve(self, n_bytes: int) -> bool:
        try:
            self._handler.admission.reserve(n_bytes)
        except MlrfError as fault:
            self.fail(fault)
            return False
        self._reserved += n_bytes
        return True

    def _release(self, n_bytes: int) -> None:
        self._handler.admission.release(n_bytes)
        self._reserved -= n_bytes


class RefusedCall(Call):
    """A request without a handler: an unknown call, or a request that is not a gRPC call."""

    __slots__ = ("_block",)

    def __init__(self, connection: Sender, number: int, head: CallHead, handler: Handling, block: bytes) -> None:
        super().__init__(connection, number, head, handler)
        self._block = block

    def opened(self) -> None:
        """Answer at once."""
        self.connection.finish(self, self._block)

    def message(self, message: Message) -> None:
        """Ignore what is sent."""

    def ended(self) -> None:
        """Ignore the end."""


def shutting_down() -> NotReadyError:
    """Return the error of a stream that ends because its server does."""
    return NotReadyError("the server is shutting down; send the request to another one")


def cut_short() -> MalformedRequestError:
    """Return the error of a call that ends before its message."""
    return MalformedRequestError("the call ended before its message was complete; send one complete message")


def incomplete(limit_s: float) -> RequestTimeoutError:
    """Return the error of a message that takes too long."""
    return RequestTimeoutError(f"the message was incomplete after {limit_s:g} s; send it faster, or call again")


def framed(message: bytes) -> bytes:
    """Return a message as gRPC sends it."""
    return _PREFIX.pack(0, len(message)) + message
