"""Handles calls: opens the stream of each kind of call, and passes its messages to message_handler.py."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import cast

from mlrf.core.errors import OverloadedError
from mlrf.core.value_text import clip
from mlrf.serving.auth.guard import Guard
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.http2.request_stream import Sender, Stream
from mlrf.serving.oip.grpc import limits
from mlrf.serving.oip.grpc.call import Call, RefusedCall, cut_short, shutting_down
from mlrf.serving.oip.grpc.call_head import CallHead
from mlrf.serving.oip.grpc.call_status import HEAD, http_block, status_block
from mlrf.serving.oip.grpc.caller import Caller
from mlrf.serving.oip.grpc.compression import Message
from mlrf.serving.oip.grpc.inference_calls import CallHandlers
from mlrf.serving.oip.grpc.message_handler import MessageHandler, RefusedCallError
from mlrf.serving.oip.grpc.streaming_call import StreamingCall
from mlrf.serving.oip.grpc.unary_call import UnaryCall
from mlrf.serving.runtime.request_runtime import RequestRuntime
from mlrf.serving.runtime.results import Deferred
from mlrf.serving.telemetry.metric_positions import Layout

_ACCESS_CODES = ("UNAUTHENTICATED", "PERMISSION_DENIED")
Run = Callable[[StreamingCall], Awaitable[None]]


class CallHandler:
    """Handles all calls of a worker."""

    def __init__(
        self,
        runtime: RequestRuntime,
        errors: ErrorEncoder,
        guard: Guard | None,
        layout: Layout,
        call_limits: limits.CallLimits,
    ) -> None:
        """Handle calls on a worker's `runtime`; without a `guard` they need no key."""
        self.admission = runtime.admission
        self.max_message_bytes = call_limits.max_message_bytes
        self.request_timeout_s = call_limits.request_timeout_s
        self.idle_timeout_s = call_limits.idle_timeout_s
        self.is_draining = False
        self._work = runtime.work
        self._layout = layout
        self._handler = MessageHandler(runtime, errors, guard, layout)
        self._unary: frozenset[str] = frozenset()
        self._streaming: Mapping[str, Run] = {}
        self._streams: dict[StreamingCall, None] = {}

    def answer_by(self, calls: Mapping[str, CallHandlers], streaming: Mapping[str, Run]) -> None:
        """Replace the calls, by path, for later messages; messages in progress keep theirs."""
        self._handler.answer_by(calls)
        self._unary = frozenset(calls.keys() - streaming.keys())
        self._streaming = streaming

    def open(self, connection: Sender, number: int, head: CallHead) -> Stream:
        """Return the stream of a call."""
        if head.path in self._unary and not (head.http_status or head.fault):
            return UnaryCall(connection, number, head, self)
        if head.http_status:
            return RefusedCall(connection, number, head, self, http_block(head.http_status))
        if head.fault is not None:
            return self._refused(connection, number, head, head.fault)
        run = self._streaming.get(head.path)
        if run is None:
            return RefusedCall(
                connection,
                number,
                head,
                self,
                HEAD + status_block("UNIMPLEMENTED", f"this server has no call {clip(head.path)}"),
            )
        if len(self._streams) >= limits.MAX_STREAMING:
            fault = OverloadedError(
                f"{limits.MAX_STREAMING} streams are open in this worker, which is the limit; try again later"
            )
            return self._refused(connection, number, head, fault)
        stream = StreamingCall(connection, number, head, self, run)
        self._streams[stream] = None
        return stream

    def _refused(self, connection: Sender, number: int, head: CallHead, fault: Exception) -> Stream:
        call = RefusedCall(connection, number, head, self, b"")
        return RefusedCall(connection, number, head, self, HEAD + self.refusal(call, fault).block())

    def check(self, call: Call) -> bool:
        """Return whether the caller may have explanations; RefusedCallError if its key does not permit the call."""
        return self._handler.check(call.head.path, call.caller)

    def answer(self, call: Call, body: bytes, *, may_explain: bool) -> bytes | Awaitable[bytes]:
        """Return a message's answer, or an awaitable of it; both raise RefusedCallError."""
        return self._handler.answer(call.head.path, call.caller, body, may_explain=may_explain)

    def inflated(self, call: Call, message: Message) -> Awaitable[bytes]:
        """Return a long message, decompressed in the worker's thread; the awaitable raises MlrfError."""
        work = Deferred(partial(message.plain, self.max_message_bytes))
        route = self._layout.number(call.head.path)
        return cast("Awaitable[bytes]", self._work.start(work, route, len(message.body), call.caller.deadline_s))

    def refusal(self, call: Call, fault: Exception) -> RefusedCallError:
        """Return the status of a call that ends before a message is answered, and count it unless the call is a stream."""
        path = call.head.path if isinstance(call, UnaryCall) else None
        return self._handler.refusal(call.caller, fault, path, call.began_s)

    def ended(self, call: Call) -> None:
        """Forget a call that is over."""
        if isinstance(call, StreamingCall):
            self._streams.pop(call, None)

    def end_idle_streams(self) -> None:
        """End streams that wait for a client message, now and later; the others end after their response."""
        self.is_draining = True
        for stream in tuple(self._streams):
            stream.give_up(shutting_down())

    def answer_stream(
        self, path: str, frame: Callable[[bytes], bytes], encode_error: Callable[[bytes, str], bytes] | None = None
    ) -> Run:
        """Return the handler of a stream of the call `path`: it sends `frame` of each request's answer, in their order.

        If a request is refused, `encode_error` makes a message from it and the error, and the stream continues; without it, and
        if the caller may not call at all, the stream ends.
        """

        async def run(call: StreamingCall) -> None:
            self._handler.check(path, call.caller)
            while (body := await call.read()) is not None:
                await call.write(await self._framed(path, call.caller, body, frame, encode_error))

        return run

    def watch(self, send_answers: Callable[[bytes, StreamingCall], Awaitable[None]]) -> Run:
        """Return the handler of a call of one message with many answers that `send_answers` sends."""

        async def run(call: StreamingCall) -> None:
            body = await call.read()
            if body is None:
                raise cut_short()
            await send_answers(body, call)

        return run

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
            is_barred = refused.code in _ACCESS_CODES and not self._handler.is_admitted(path, caller)
            if encode_error is None or is_barred:
                raise
            return encode_error(body, refused.details)
