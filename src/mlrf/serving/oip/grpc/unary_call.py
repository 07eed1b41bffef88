"""Calls of one message with one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from mlrf.core.errors import MlrfError
from mlrf.serving.oip.grpc.call import Call, cut_short, framed, incomplete
from mlrf.serving.oip.grpc.call_status import HEAD, OK
from mlrf.serving.oip.grpc.compression import Message
from mlrf.serving.oip.grpc.message_handler import RefusedCallError


class UnaryCall(Call):
    """A call of one message with one answer."""

    __slots__ = ("_has_message", "_may_explain")

    def opened(self) -> None:
        """Check the key."""
        self._has_message = False
        try:
            self._may_explain = self._handler.check(self)
        except RefusedCallError as refused:
            self.refuse(refused)

    def received(self, content: bytes) -> None:
        """Put the message together; further ones are ignored."""
        if not self._has_message:
            super().received(content)

    def message(self, message: Message) -> None:
        """Answer the message."""
        if self._has_message:
            return
        self._has_message = True
        try:
            body = message.plain_if_short(self._handler.max_message_bytes)
        except MlrfError as fault:
            self.fail(fault)
            return
        if body is None:
            self._start(self._answer_long(message))
            return
        try:
            made = self._handler.answer(self, body, may_explain=self._may_explain)
        except RefusedCallError as refused:
            self.refuse(refused)
            return
        if isinstance(made, bytes):
            self._send(made)
        else:
            self._start(made)

    def ended(self) -> None:
        """Refuse a call that ends before its message is complete."""
        if not self._has_message:
            self.fail(cut_short())

    def check(self, now_s: float) -> None:
        """Refuse a message that is incomplete for too long."""
        limit_s = self._handler.request_timeout_s
        if not self._has_message and now_s - self.began_s > limit_s:
            self.fail(incomplete(limit_s))
        else:
            super().check(now_s)

    def _start(self, made: Awaitable[bytes]) -> None:
        self._task = asyncio.ensure_future(made)
        self._task.add_done_callback(self._finish)

    async def _answer_long(self, message: Message) -> bytes:
        body = await self._handler.inflated(self, message)
        made = self._handler.answer(self, body, may_explain=self._may_explain)
        return made if isinstance(made, bytes) else await made

    def _send(self, made: bytes) -> None:
        self.connection.answer(self, HEAD, framed(made), OK)

    def _finish(self, task: asyncio.Future[bytes]) -> None:
        if self.is_over or task.cancelled():
            return
        self._task = None
        fault = task.exception()
        if isinstance(fault, RefusedCallError):
            self.refuse(fault)
        elif isinstance(fault, Exception):
            self.fail(fault)
        else:
            self._send(task.result())
