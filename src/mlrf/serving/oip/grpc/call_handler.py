"""Handles calls: reads their messages, passes each to message_handler.py, and writes the answers.

1. A key is checked when the metadata arrives, before any of the message is read.
2. Calls of one message are read like streams, so that this server can start, limit and end the reading
(unfinished_messages.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any

import grpc

from mlrf.core.errors import (
    MalformedRequestError,
    MlrfError,
    NotReadyError,
    RequestTimeoutError,
)
from mlrf.serving.auth.guard import Guard
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.oip.grpc.caller import Caller, caller_of
from mlrf.serving.oip.grpc.inference_calls import CallHandlers
from mlrf.serving.oip.grpc.message_handler import MessageHandler, RefusedCallError
from mlrf.serving.oip.grpc.unfinished_messages import UnfinishedMessages
from mlrf.serving.oip.grpc.unsent_answers import UnsentAnswers
from mlrf.serving.runtime.request_runtime import RequestRuntime
from mlrf.serving.telemetry.metric_layout import Layout

_Answer = Callable[[Any, Any], Awaitable[Any]]
_ACCESS_CODES = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class CallHandler:
    """Handles all calls of a worker."""

    def __init__(
        self,
        runtime: RequestRuntime,
        errors: ErrorEncoder,
        guard: Guard | None,
        messages: UnfinishedMessages,
        unsent: UnsentAnswers,
        write_timeout_s: float,
        layout: Layout,
    ) -> None:
        self._handler = MessageHandler(runtime, errors, guard, layout)
        self._messages = messages
        self._unsent = unsent
        self._write_timeout_s = write_timeout_s
        self._n_in_flight = 0
        self._is_idle = asyncio.Event()
        self._draining = False
        self._resumed: asyncio.Event | None = None

    def answer_by(self, calls: Mapping[str, CallHandlers]) -> None:
        """Replace the calls, by path, for later messages; messages in progress keep theirs."""
        self._handler.answer_by(calls)

    def unary(self, path: str) -> _Answer:
        """Return the handler of a call of one message."""

        async def answer(_requests: Any, context: Any) -> bytes:
            caller = caller_of(context)
            try:
                may_explain = self._handler.check(path, caller)
                body = await self._message(context, path, caller)
                made = self._handler.answer(path, caller, body, may_explain=may_explain)
                if not isinstance(made, bytes):
                    made = await made
            except RefusedCallError as refused:
                if self._resumed is not None:
                    await self._resumed.wait()
                await refused.abort(context)
                raise
            if self._resumed is not None:
                await self._resumed.wait()
            self._unsent.add(context, len(made))
            context.add_done_callback(self._unsent.forget)
            return made

        return self._counted(answer)

    def stream(
        self, path: str, frame: Callable[[bytes], bytes], encode_error: Callable[[bytes, str], bytes] | None = None
    ) -> _Answer:
        """Return the handler of a stream: it sends `frame` of each request's answer, in their order.

        If a request is refused, `encode_error` makes a message from it and the error, and the stream continues; without it, and
        if the caller may not call at all, the stream ends.
        """

        async def answer(_requests: Any, context: Any) -> None:
            caller = caller_of(context)
            try:
                self._handler.check(path, caller)
                while (body := await self._next(context, caller)) is not grpc.aio.EOF:
                    await self._write(context, caller, await self._framed(path, caller, body, frame, encode_error))
            except RefusedCallError as refused:
                await refused.abort(context)
                raise

        return self._counted(answer)

    def watch(self, send_answers: Callable[[bytes, Any], Awaitable[None]]) -> _Answer:
        """Return the handler of a call of one message with many answers that `send_answers` sends; its errors end the call."""

        async def answer(_requests: Any, context: Any) -> None:
            try:
                body = await self._messages.read(context, is_stream=False)
                if body is grpc.aio.EOF:
                    raise _cut_short()
                await send_answers(body, context)
            except Exception as fault:  # noqa: BLE001  whatever is raised, the client gets an answer
                refused = self._handler.refusal(caller_of(context), fault)
                await refused.abort(context)

        return self._counted(answer)

    def pause_sending(self) -> None:
        """Delay finished responses until `resume_sending`."""
        self._resumed = asyncio.Event()

    def resume_sending(self) -> None:
        """Send the delayed responses, and all later ones without delay."""
        if self._resumed is not None:
            self._resumed.set()

    def end_idle_streams(self) -> None:
        """End streams that wait for a client message, now and later; the others end after their response."""
        self._draining = True
        self._messages.end_streams(_shutting_down())

    async def finish(self) -> None:
        """Wait until no call is in progress."""
        while self._n_in_flight:
            self._is_idle.clear()
            await self._is_idle.wait()

    def _counted(self, answer: _Answer) -> _Answer:
        """Return the same handler, counted while it runs."""

        async def answer_counted(requests: Any, context: Any) -> Any:
            self._n_in_flight += 1
            try:
                return await answer(requests, context)
            finally:
                self._n_in_flight -= 1
                if not self._n_in_flight:
                    self._is_idle.set()

        return answer_counted

    async def _message(self, context: Any, path: str, caller: Caller) -> bytes:
        """Return the message of a call of one message; RefusedCallError if it is incomplete, or late."""
        started = perf_counter()
        try:
            body: bytes | Any = await self._messages.read(context, is_stream=False)
            if body is grpc.aio.EOF:
                raise _cut_short()
        except MlrfError as fault:
            raise self._handler.refusal(caller, fault, path, started) from None
        return bytes(body)

    async def _next(self, context: Any, caller: Caller) -> Any:
        """Return the next message of a stream; RefusedCallError if none comes in time, or the server stops first."""
        if self._draining:
            raise self._handler.refusal(caller, _shutting_down())
        try:
            return await self._messages.read(context, is_stream=True)
        except MlrfError as fault:
            raise self._handler.refusal(caller, fault) from None

    async def _framed(
        self,
        path: str,
        caller: Caller,
        body: bytes,
        frame: Callable[[bytes], bytes],
        encode_error: Callable[[bytes, str], bytes] | None,
    ) -> bytes:
        """Return the answer to one message of a stream; RefusedCallError ends the stream."""
        try:
            one = self._handler.answer(path, caller, body, may_explain=self._handler.check(path, caller))
            return frame(one if isinstance(one, bytes) else await one)
        except RefusedCallError as refused:
            # A key may permit predictions but not explanations: then the stream continues.
            if encode_error is None or (refused.code in _ACCESS_CODES and not self._handler.is_admitted(path, caller)):
                raise
            return encode_error(body, refused.details)

    async def _write(self, context: Any, caller: Caller, content: bytes) -> None:
        self._unsent.add(context, len(content))
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await context.write(content)
        except TimeoutError:
            slow = RequestTimeoutError(f"the client did not read its responses for {self._write_timeout_s:g} s")
            raise self._handler.refusal(caller, slow) from None
        finally:
            self._unsent.forget(context)


def _shutting_down() -> NotReadyError:
    return NotReadyError("the server is shutting down; send the request to another one")


def _cut_short() -> MalformedRequestError:
    return MalformedRequestError("the call ended before its message was complete; send one complete message")
