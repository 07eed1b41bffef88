"""Answers calls: each message is a request as over HTTP, with the same access, admission, work, counts and refusals.

Handlers take and return bytes, so grpcio parses and writes no messages for us: what does not parse is refused in our words, and
costs what it must.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import grpc

from mlrf.core.errors import NotPermittedError, NotReadyError, RequestTimeoutError, UnauthenticatedError
from mlrf.serving.auth.guard import Guard
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.error_status import ErrorStatus
from mlrf.serving.http.head import REQUEST_ID
from mlrf.serving.http.router import Call
from mlrf.serving.http.server import HttpServer
from mlrf.serving.oip.grpc.calls import CallHandlers
from mlrf.serving.oip.grpc.message_codec import model_name_of
from mlrf.serving.routes import ADMIN, GRPC_CALLS, GrpcCall
from mlrf.serving.runtime.deadlines import earliest, too_late
from mlrf.serving.runtime.results import Result, followed, unwrapped
from mlrf.serving.telemetry.metrics import Layout

_OK = 200
_MAX_DETAILS_BYTES = 2000
"""Details travel in a header, of which clients take 8 KB; a byte that is no plain character takes three there."""
_PUSHBACK_MS = "1000"
_CODES = {code.name: code for code in grpc.StatusCode}
_OF_CALLER = frozenset(("authorization", "x-request-id", "traceparent"))
_OF_ACCESS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


@dataclass(slots=True)
class _Caller:
    """What a call's metadata and its connection say."""

    deadline_s: float
    """Until when the caller waits (`perf_counter`), 0 for ever."""
    peer: Callable[[], str]
    authorization: bytes | None = None
    request_id: bytes | None = None
    traceparent: bytes | None = None


class _RefusedError(Exception):
    """How a request is refused."""

    def __init__(self, told: ErrorStatus, details: str, metadata: tuple[tuple[str, str], ...]) -> None:
        super().__init__(details)
        self.code = _CODES[told.grpc]
        self.details = details
        self.metadata = metadata

    async def abort(self, context: Any) -> None:
        """End the call with this."""
        await context.abort(self.code, self.details, self.metadata)


class CallHandler:
    """Answers the messages of all calls, beside an HTTP server whose places for work they share."""

    def __init__(
        self, http: HttpServer, refusals: ErrorEncoder, guard: Guard | None, write_timeout_s: float, layout: Layout
    ) -> None:
        self._http = http
        self._refusals = refusals
        self._guard = guard
        self._write_timeout_s = write_timeout_s
        self._layout = layout
        self._calls: Mapping[str, Mapping[bytes, tuple[Call, Call]]] = {}
        """By path, and by model where messages name one; b"" for any other."""
        self._resting: set[asyncio.Task[Any]] = set()
        """Streams that wait for their client's next message."""
        self._draining = False
        self._held: asyncio.Event | None = None

    def answer_by(self, calls: Mapping[str, CallHandlers]) -> None:
        """Answer the next messages by these calls, by path. Those under way keep theirs."""
        self._calls = {each.path: self._by_model(each, calls[each.path]) for each in GRPC_CALLS if each.path in calls}

    def _by_model(self, call: GrpcCall, handlers: CallHandlers) -> dict[bytes, tuple[Call, Call]]:
        number = self._layout.number
        by_model = {b"": number(call.path)}
        if call.predicts:
            by_model |= {model.encode(): number(call.path, model) for model in self._layout.models}
        return {
            model: (_call(call, route, handlers.handler), _call(call, route, handlers.unexplained))
            for model, route in by_model.items()
        }

    def unary(self, path: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """Return what answers a call of one message."""

        async def answer(body: bytes, context: Any) -> bytes:
            try:
                made = self._one(path, _caller(context), body)
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

        return answer

    def stream(
        self, path: str, frame: Callable[[bytes], bytes], tell: Callable[[bytes, str], bytes] | None = None
    ) -> Callable[[Any, Any], Awaitable[None]]:
        """Return what answers a stream: `frame` of each request's answer, in their order.

        Where a request is refused, `tell` makes a message of it and the sentence, and the stream goes on; without `tell`, and
        where the caller may not ask at all, the stream ends.
        """

        async def answer(_requests: Any, context: Any) -> None:
            caller = _caller(context)
            while (body := await self._next(context, caller)) is not grpc.aio.EOF:
                try:
                    one = self._one(path, caller, body)
                    made = frame(one if isinstance(one, bytes) else await one)
                except _RefusedError as refused:
                    if tell is None or (refused.code in _OF_ACCESS and not self._is_admitted(path, caller)):
                        await refused.abort(context)
                        raise
                    made = tell(body, refused.details)
                try:
                    async with asyncio.timeout(self._write_timeout_s):
                        await context.write(made)
                except TimeoutError:
                    slow = RequestTimeoutError(f"the client did not read its answers for {self._write_timeout_s:g} s")
                    await self._end(context, caller, slow)

        return answer

    def watch(self, tell: Callable[[bytes, Any], Awaitable[None]]) -> Callable[[bytes, Any], Awaitable[None]]:
        """Return what answers a call of one message with many, as `tell` writes them; what it raises is told as any refusal."""

        async def answer(body: bytes, context: Any) -> None:
            try:
                await tell(body, context)
            except Exception as fault:  # noqa: BLE001  whatever is raised, the client gets an answer
                await self._end(context, _caller(context), fault)

        return answer

    def hold(self) -> None:
        """Make answers, and keep them until `release`."""
        self._held = asyncio.Event()

    def release(self) -> None:
        """Send what was kept, and all answers from now on."""
        if self._held is not None:
            self._held.set()

    def end_resting(self) -> None:
        """End the streams that wait for their client, now and from now on; the others are ended after their answer."""
        self._draining = True
        for task in self._resting:
            task.cancel()

    async def _next(self, context: Any, caller: _Caller) -> Any:
        """Return the next message of a stream; end it where the server leaves first."""
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a call is answered by a task")
        leaving = NotReadyError("the server is shutting down; go on with another")
        if self._draining:
            await self._end(context, caller, leaving)
        self._resting.add(task)
        try:
            return await context.read()
        except asyncio.CancelledError:
            if not self._draining:
                raise
            task.uncancel()
            await self._end(context, caller, leaving)
            raise
        finally:
            self._resting.discard(task)

    async def _end(self, context: Any, caller: _Caller, fault: Exception) -> None:
        await self._refused(fault, caller.request_id or self._http.new_request_id()).abort(context)

    def _one(self, path: str, caller: _Caller, body: bytes) -> bytes | Awaitable[bytes]:
        """Return a message's answer, or what waits for it where it takes its time; _RefusedError from either."""
        started = perf_counter()
        http = self._http
        admission = http.admission
        identity = caller.request_id or http.new_request_id()
        by_model = self._calls[path]
        call, unexplained = by_model[b""] if len(by_model) == 1 else by_model.get(model_name_of(body)) or by_model[b""]
        try:
            if not self._may_explain(path, caller):
                call = unexplained
            http.until_observed -= 1
            if http.until_observed < 0 or caller.traceparent is not None:
                call = http.observe(replace(call, traceparent=caller.traceparent), identity, body, caller.peer())
            if admission.strained and not call.always:
                timeout_s = max(caller.deadline_s - started, 1e-9) if caller.deadline_s else 0.0
                fault = admission.refusal(call.route, len(body), timeout_s)
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
        self, call: Call, work: Result, identity: bytes, n_bytes: int, deadline_s: float, started: float
    ) -> bytes:
        try:
            content = await self._made(work, call.route, n_bytes, deadline_s)
        except Exception as fault:  # noqa: BLE001  as above
            refused = self._refused(fault, identity, call, started)
            raise refused from None
        return self._answered(call, content, started)

    def _answered(self, call: Call, content: bytes, started: float) -> bytes:
        self._count(call, _OK, content, started)
        return bytes(content)  # grpcio takes no subclass, which an answer by key is

    def _may_explain(self, path: str, caller: _Caller) -> bool:
        """Return whether a caller may have reasons; UnauthenticatedError or NotPermittedError where it may not call at all."""
        return self._guard is None or self._guard.check(caller.authorization, self._layout.number(path))

    def _is_admitted(self, path: str, caller: _Caller) -> bool:
        try:
            self._may_explain(path, caller)
        except (UnauthenticatedError, NotPermittedError):
            return False
        return True

    async def _made(self, work: Result, route: int, n_bytes: int, deadline_s: float) -> bytes:
        """Wait for an answer that takes its time."""
        while not isinstance(work, bytes):
            started_work, then, until_s = unwrapped(work)
            deadline_s = earliest(deadline_s, until_s)
            place = self._http.work.start(started_work, route, n_bytes, deadline_s)
            try:
                made = await place
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                raise NotReadyError("the server stopped before this request's turn came; ask another") from None
            work = made if then is None else followed(made, then)
        return work

    def _refused(
        self, fault: Exception, identity: bytes, call: Call | None = None, started: float = 0.0
    ) -> _RefusedError:
        told, code, details = self._refusals.report(fault, identity, 0 if call is None else call.route)
        text = identity.decode("ascii")
        metadata = [("x-request-id", text), ("mlrf-code", code)]
        if told.grpc == "UNAVAILABLE":
            metadata.append(("grpc-retry-pushback-ms", _PUSHBACK_MS))
        if told.grpc == "INTERNAL":
            details = f"{details}; request {text}"
        if call is not None:
            self._count(call, told.http, details.encode(), started)
        short = details.encode()[:_MAX_DETAILS_BYTES].decode(errors="ignore")
        return _RefusedError(told, short, tuple(metadata))

    def _count(self, call: Call, status: int, content: bytes, started: float) -> None:
        http = self._http
        now_s = perf_counter()
        if call.observed is not None:
            call.observed.end(status, content, now_s - started)
        http.meter.count_request(call.route, status, now_s - started)
        if now_s > http.due_s:
            http.on_due(now_s)


def _call(call: GrpcCall, route: int, handler: Callable[[bytes], Result]) -> Call:
    return Call(
        route=route,
        handler=handler,
        content_type=b"application/grpc",
        content_length=0,
        chunked=False,
        keep_alive=True,
        is_http10=False,
        is_head=False,
        request_id=None,
        expects_continue=False,
        always=call.is_always_on or call.scope == ADMIN,
        method=b"POST",
        target=call.path.encode(),
    )


def _caller(context: Any) -> _Caller:
    left_s = context.time_remaining()
    caller = _Caller(0.0 if left_s is None else perf_counter() + left_s, context.peer)
    for name, value in context.invocation_metadata():
        if name in _OF_CALLER:
            told = value.encode() if isinstance(value, str) else value
            if name == "authorization":
                caller.authorization = told
            elif name == "traceparent":
                caller.traceparent = told
            elif REQUEST_ID.fullmatch(told):
                caller.request_id = told
    return caller
