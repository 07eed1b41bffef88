"""Calls of many messages, or many answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from time import perf_counter

from mlrf.core.errors import MlrfError
from mlrf.serving.http2.request_stream import Sender
from mlrf.serving.http2.wire_frames import INITIAL_WINDOW
from mlrf.serving.oip.grpc.call import Call, Handling, cut_short, framed, incomplete, shutting_down
from mlrf.serving.oip.grpc.call_head import CallHead
from mlrf.serving.oip.grpc.call_status import HEAD, OK
from mlrf.serving.oip.grpc.compression import Message
from mlrf.serving.oip.grpc.message_handler import RefusedCallError

_QUEUED_BYTES = 128
"""Memory that a queued message takes besides its bytes: one without any takes five to send."""


class StreamingCall(Call):
    """A call of many messages or answers, which a coroutine handles: it awaits `read` and `write`."""

    __slots__ = ("_incomplete_since_s", "_is_sent", "_messages", "_run", "_waiting", "_waiting_since_s")

    def __init__(
        self,
        connection: Sender,
        number: int,
        head: CallHead,
        handler: Handling,
        run: Callable[[StreamingCall], Awaitable[None]],
    ) -> None:
        super().__init__(connection, number, head, handler)
        self._run = run
        self._messages: deque[Message] = deque()
        self._waiting: asyncio.Future[None] | None = None
        """Resolved when a message arrives or the client has finished sending; failed if neither happens in time."""
        self._waiting_since_s = 0.0
        self._incomplete_since_s = 0.0
        """Since when the coroutine waits for the rest of a message; 0 if it does not."""
        self._is_sent: asyncio.Future[None] | None = None

    def opened(self) -> None:
        """Start the coroutine."""
        self._task = asyncio.get_running_loop().create_task(self._handle())

    def message(self, message: Message) -> None:
        """Queue a message: the windows bound how many can wait."""
        self._incomplete_since_s = 0.0
        if self._reserve(len(message.body) + _QUEUED_BYTES):
            self._messages.append(message)
            self._wake()

    def ended(self) -> None:
        """Note that the client has finished sending."""
        self._wake()

    def sent(self) -> None:
        """Let the coroutine continue."""
        if self._is_sent is not None and not self._is_sent.done():
            self._is_sent.set_result(None)

    async def read(self) -> bytes | None:
        """Return the next message, None at the end; raises MlrfError for a message that is cut short, or comes too late."""
        if not self._messages and not self.is_half_closed:
            if self._handler.is_draining:
                raise shutting_down()
            if self._buffer is not None:
                super()._widen()
            elif self.receive_window < INITIAL_WINDOW // 2:
                self.connection.grant(self, INITIAL_WINDOW - self.receive_window)
            self._waiting = asyncio.get_running_loop().create_future()
            self._waiting_since_s = perf_counter()
            try:
                await self._waiting
            finally:
                self._waiting = None
        if self._messages:
            message = self._messages.popleft()
            self._release(len(message.body) + _QUEUED_BYTES)
            body = message.plain_if_short(self._handler.max_message_bytes)
            return await self._handler.inflated(self, message) if body is None else body
        if self._buffer is not None:
            raise cut_short()
        return None

    async def write(self, content: bytes) -> None:
        """Send a message; returns when the client has opened its window for all of it."""
        if not self.has_head:
            self.has_head = True
            self.connection.send_head(self, HEAD)
        self._is_sent = asyncio.get_running_loop().create_future()
        self.connection.send(self, framed(content))
        if self.unsent:
            await self._is_sent
        self._is_sent = None

    def _widen(self) -> None:
        # Not before the waiting messages are read: they would fill the memory.
        if not self._messages:
            super()._widen()

    def give_up(self, fault: MlrfError) -> None:
        """Raise an error where the coroutine waits for a message."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(fault)

    def check(self, now_s: float) -> None:
        """Give up on a client that sends nothing, or only parts of a message."""
        handler = self._handler
        if self._waiting is None or self._buffer is None:
            self._incomplete_since_s = 0.0
        elif not self._incomplete_since_s:
            self._incomplete_since_s = now_s
        if self._waiting is not None and now_s - self._waiting_since_s > handler.idle_timeout_s:
            self.give_up(incomplete(handler.idle_timeout_s))
        elif self._incomplete_since_s and now_s - self._incomplete_since_s > handler.request_timeout_s:
            self.give_up(incomplete(handler.request_timeout_s))
        else:
            super().check(now_s)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def _handle(self) -> None:
        try:
            await self._run(self)
        except RefusedCallError as refused:
            self._task = None
            self.refuse(refused)
        except Exception as fault:  # noqa: BLE001  whatever is raised, the client gets an answer
            self._task = None
            self.fail(fault)
        else:
            self._task = None
            if not self.is_over:
                self.connection.finish(self, OK if self.has_head else HEAD + OK)
