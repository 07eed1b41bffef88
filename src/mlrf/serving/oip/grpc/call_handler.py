"""Answers calls: each message passes the same access rules, admission, executor, counts and errors as an HTTP request.

1. A key is checked when the metadata come, before any of the message is read.
2. Calls of one message are read like streams, so that reading is ours to begin, to limit and to end (unfinished_messages.py).
3. Handlers take and return bytes, so grpcio parses and writes no messages for us: what does not parse is refused by us, at the
   cost that we choose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Self

import grpc

from mlrf.core.errors import (
    MalformedRequestError,
    MlrfError,
    NotPermittedError,
    NotReadyError,
    RequestTimeoutError,
    UnauthenticatedError,
)
from mlrf.serving.auth.guard import Guard
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.error_status import ErrorStatus
from mlrf.serving.oip.grpc.caller import Caller, caller_of
from mlrf.serving.oip.grpc.calls import CallHandlers
from mlrf.serving.oip.grpc.message_codec import model_name_of
from mlrf.serving.oip.grpc.unfinished_messages import UnfinishedMessages
from mlrf.serving.routes import ADMIN, GRPC_CALLS, GrpcCall
from mlrf.serving.runtime.deadlines import earliest, too_late
from mlrf.serving.runtime.observer import ObservedRequest
from mlrf.serving.runtime.request_runtime import RequestRuntime
from mlrf.serving.runtime.results import Handler, Result, followed, unwrapped
from mlrf.serving.telemetry.metric_layout import Layout

_OK = 200
_MAX_DETAILS_BYTES = 2000
"""Details travel in a header, of which clients take 8 KB; a byte that is no plain character takes three there."""
_PUSHBACK_MS = "1000"
_CODES = {code.name: code for code in grpc.StatusCode}
_Answer = Callable[[Any, Any], Awaitable[Any]]
_OF_ACCESS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class _RefusedError(Exception):
    """The gRPC status of a refused request."""

    def __init__(self, status: ErrorStatus, details: str, metadata: tuple[tuple[str, str], ...]) -> None:
        super().__init__(details)
        self.code = _CODES[status.grpc]
        self.details = details
        self.metadata = metadata

    async def abort(self, context: Any) -> None:
        """Abort the call with this status."""
        await context.abort(self.code, self.details, self.metadata)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of the service, as observers see it."""

    route: int
    target: bytes
    handler: Handler
    always: bool
    """Whether it is exempt from overload refusals."""
    method: bytes = b"POST"
    traceparent: bytes | None = None
    observed: ObservedRequest | None = None

    def observed_by(self, request: ObservedRequest) -> Self:
        """Return the same call, answered by the handler of a request that is observed."""
        return replace(self, handler=request.handler, observed=request)


class CallHandler:
    """Answers the messages of all calls of a worker."""

    def __init__(
        self,
        runtime: RequestRuntime,
        refusals: ErrorEncoder,
        guard: Guard | None,
        messages: UnfinishedMessages,
        write_timeout_s: float,
        layout: Layout,
    ) -> None:
        self._runtime = runtime
        self._refusals = refusals
        self._guard = guard
        self._messages = messages
        self._write_timeout_s = write_timeout_s
        self._layout = layout
        self._calls: Mapping[str, Mapping[bytes, tuple[_Call, _Call]]] = {}
        """By path, and by model where messages name one; b"" for any other."""
        self._n_under_way = 0
        self._is_idle = asyncio.Event()
        self._draining = False
        self._held: asyncio.Event | None = None

    def answer_by(self, calls: Mapping[str, CallHandlers]) -> None:
        """Replace the calls, by path, for later messages; messages in progress keep theirs."""
        self._calls = {each.path: self._by_model(each, calls[each.path]) for each in GRPC_CALLS if each.path in calls}

    def _by_model(self, call: GrpcCall, handlers: CallHandlers) -> dict[bytes, tuple[_Call, _Call]]:
        number = self._layout.number
        by_model = {b"": number(call.path)}
        if call.predicts:
            by_model |= {model.encode(): number(call.path, model) for model in self._layout.models}
        return {
            model: (_call(call, route, handlers.handler), _call(call, route, handlers.unexplained))
            for model, route in by_model.items()
        }

    def unary(self, path: str) -> _Answer:
        """Return what answers a call of one message."""

        async def answer(_requests: Any, context: Any) -> bytes:
            caller = caller_of(context)
            try:
                may_explain = self._checked(path, caller)
                body = await self._message(context, path, caller)
                made = self._one(path, caller, body, may_explain=may_explain)
                if not isinstance(made, bytes):
                    made = await made
            except _RefusedError as refused:
                if self._held is not None:
                    await self._held.wait()
                await refused.abort(context)
                raise
            if self._held is not None:
                await self._held.wait()
            return made

        return self._counted(answer)

    def stream(
        self, path: str, frame: Callable[[bytes], bytes], tell: Callable[[bytes, str], bytes] | None = None
    ) -> _Answer:
        """Return what answers a stream: `frame` of each request's answer, in their order.

        Where a request is refused, `tell` makes a message of it and the error, and the stream goes on; without `tell`, and
        where the caller may not call at all, the stream ends.
        """

        async def answer(_requests: Any, context: Any) -> None:
            caller = caller_of(context)
            try:
                self._checked(path, caller)
                while (body := await self._next(context, caller)) is not grpc.aio.EOF:
                    await self._write(context, caller, await self._framed(path, caller, body, frame, tell))
            except _RefusedError as refused:
                await refused.abort(context)
                raise

        return self._counted(answer)

    def watch(self, tell: Callable[[bytes, Any], Awaitable[None]]) -> _Answer:
        """Return what answers a call of one message with many, as `tell` writes them; its errors end the call."""

        async def answer(_requests: Any, context: Any) -> None:
            try:
                body = await self._messages.read(context, is_stream=False)
                if body is grpc.aio.EOF:
                    raise _cut_short()
                await tell(body, context)
            except Exception as fault:  # noqa: BLE001  whatever is raised, the client gets an answer
                refused = self._ended(caller_of(context), fault)
                await refused.abort(context)

        return self._counted(answer)

    def hold(self) -> None:
        """Hold back finished responses until `release`."""
        self._held = asyncio.Event()

    def release(self) -> None:
        """Send the responses held back, and all later ones at once."""
        if self._held is not None:
            self._held.set()

    def end_resting(self) -> None:
        """End streams that wait for a client message, now and later; the others end after their response."""
        self._draining = True
        self._messages.end_streams(_leaving())

    async def finish(self) -> None:
        """Wait until no call is in progress."""
        while self._n_under_way:
            self._is_idle.clear()
            await self._is_idle.wait()

    def _counted(self, answer: _Answer) -> _Answer:
        """Return the same, counted while it is under way."""

        async def answer_counted(requests: Any, context: Any) -> Any:
            self._n_under_way += 1
            try:
                return await answer(requests, context)
            finally:
                self._n_under_way -= 1
                if not self._n_under_way:
                    self._is_idle.set()

        return answer_counted

    async def _message(self, context: Any, path: str, caller: Caller) -> bytes:
        """Return the message of a call of one message; _RefusedError where none comes whole, or not in time."""
        started = perf_counter()
        try:
            body: bytes | Any = await self._messages.read(context, is_stream=False)
            if body is grpc.aio.EOF:
                raise _cut_short()
        except MlrfError as fault:
            raise self._ended(caller, fault, path, started) from None
        return bytes(body)

    async def _next(self, context: Any, caller: Caller) -> Any:
        """Return the next message of a stream; _RefusedError where none comes in time, or the server leaves first."""
        if self._draining:
            raise self._ended(caller, _leaving())
        try:
            return await self._messages.read(context, is_stream=True)
        except MlrfError as fault:
            raise self._ended(caller, fault) from None

    async def _framed(
        self,
        path: str,
        caller: Caller,
        body: bytes,
        frame: Callable[[bytes], bytes],
        tell: Callable[[bytes, str], bytes] | None,
    ) -> bytes:
        """Return the answer to one message of a stream; _RefusedError ends the stream."""
        try:
            one = self._one(path, caller, body, may_explain=self._checked(path, caller))
            return frame(one if isinstance(one, bytes) else await one)
        except _RefusedError as refused:
            # A key may cover predictions and not explanations: then the stream goes on.
            if tell is None or (refused.code in _OF_ACCESS and not self._is_admitted(path, caller)):
                raise
            return tell(body, refused.details)

    async def _write(self, context: Any, caller: Caller, content: bytes) -> None:
        try:
            async with asyncio.timeout(self._write_timeout_s):
                await context.write(content)
        except TimeoutError:
            slow = RequestTimeoutError(f"the client did not read its answers for {self._write_timeout_s:g} s")
            raise self._ended(caller, slow) from None

    def _ended(self, caller: Caller, fault: Exception, path: str | None = None, started: float = 0.0) -> _RefusedError:
        """Return how a call ends before a message is answered, counted where the call of a `path` is no stream."""
        call = None if path is None else self._calls[path][b""][0]
        return self._refused(fault, caller.request_id or self._runtime.new_request_id(), call, started)

    def _checked(self, path: str, caller: Caller) -> bool:
        """Return whether a caller may have explanations; _RefusedError where its key does not cover the call."""
        started = perf_counter()
        try:
            return self._may_explain(path, caller)
        except MlrfError as fault:
            raise self._ended(caller, fault, path, started) from None

    def _one(self, path: str, caller: Caller, body: bytes, *, may_explain: bool) -> bytes | Awaitable[bytes]:
        """Return a message's answer, or what waits for it where it takes its time; _RefusedError from either."""
        started = perf_counter()
        runtime = self._runtime
        identity = caller.request_id or runtime.new_request_id()
        by_model = self._calls[path]
        explained, unexplained = (
            by_model[b""] if len(by_model) == 1 else by_model.get(model_name_of(body)) or by_model[b""]
        )
        call = explained if may_explain else unexplained
        try:
            runtime.until_observed -= 1
            if runtime.until_observed < 0 or caller.traceparent is not None:
                call = runtime.observe(replace(call, traceparent=caller.traceparent), identity, body, caller.peer())
            if runtime.admission.strained and not call.always:
                timeout_s = max(caller.deadline_s - started, 1e-9) if caller.deadline_s else 0.0
                fault = runtime.admission.refusal(call.route, len(body), timeout_s)
                if fault is not None:
                    raise fault
            if caller.deadline_s and started > caller.deadline_s:
                raise too_late()
            content = call.handler(body)
        except Exception as fault:  # noqa: BLE001  whatever a handler raises, the client gets an answer
            refused = self._refused(fault, identity, call, started)
            raise refused from None
        if isinstance(content, bytes):
            return self._answered(call, content, started)
        return self._later(call, content, identity, len(body), caller.deadline_s, started)

    async def _later(
        self, call: _Call, work: Result, identity: bytes, n_bytes: int, deadline_s: float, started: float
    ) -> bytes:
        try:
            content = await self._made(work, call.route, n_bytes, deadline_s)
        except Exception as fault:  # noqa: BLE001  as above
            refused = self._refused(fault, identity, call, started)
            raise refused from None
        return self._answered(call, content, started)

    def _answered(self, call: _Call, content: bytes, started: float) -> bytes:
        self._count(call, _OK, content, started)
        return bytes(content)  # grpcio takes no subclass, which an answer by key is

    def _may_explain(self, path: str, caller: Caller) -> bool:
        """Return whether a caller may have explanations; UnauthenticatedError or NotPermittedError where it may not call."""
        return self._guard is None or self._guard.check(caller.authorization, self._layout.number(path))

    def _is_admitted(self, path: str, caller: Caller) -> bool:
        try:
            self._may_explain(path, caller)
        except (UnauthenticatedError, NotPermittedError):
            return False
        return True

    async def _made(self, work: Result, route: int, n_bytes: int, deadline_s: float) -> bytes:
        """Wait for a deferred response."""
        while not isinstance(work, bytes):
            started_work, then, until_s = unwrapped(work)
            deadline_s = earliest(deadline_s, until_s)
            future = self._runtime.work.start(started_work, route, n_bytes, deadline_s)
            try:
                made = await future
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise NotReadyError("the server stopped before this request's turn came; ask another") from None
            work = made if then is None else followed(made, then)
        return work

    def _refused(
        self, fault: Exception, identity: bytes, call: _Call | None = None, started: float = 0.0
    ) -> _RefusedError:
        status, code, details = self._refusals.report(fault, identity, 0 if call is None else call.route)
        text = identity.decode("ascii")
        metadata = [("x-request-id", text), ("mlrf-code", code)]
        if status.grpc == "UNAVAILABLE":
            metadata.append(("grpc-retry-pushback-ms", _PUSHBACK_MS))
        if status.grpc == "INTERNAL":
            details = f"{details}; request {text}"
        if call is not None:
            self._count(call, status.http, details.encode(), started)
        short = details.encode()[:_MAX_DETAILS_BYTES].decode(errors="ignore")
        return _RefusedError(status, short, tuple(metadata))

    def _count(self, call: _Call, status: int, content: bytes, started: float) -> None:
        runtime = self._runtime
        now_s = perf_counter()
        if call.observed is not None:
            call.observed.end(status, content, now_s - started)
        runtime.request_meter.count_request(call.route, status, now_s - started)
        if now_s > runtime.due_s:
            runtime.on_due(now_s)


def _call(call: GrpcCall, route: int, handler: Handler) -> _Call:
    return _Call(route, call.path.encode(), handler, always=call.is_always_on or call.scope == ADMIN)


def _leaving() -> NotReadyError:
    return NotReadyError("the server is shutting down; go on with another")


def _cut_short() -> MalformedRequestError:
    return MalformedRequestError("the call ended before its message was whole; send one whole message")
