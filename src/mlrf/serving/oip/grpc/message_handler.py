"""Handles one message of a call: access, admission, computation, counts and errors, as for an HTTP request.

Handlers take and return bytes: a message that does not parse is refused here, at a controlled cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Self

from mlrf.core.errors import (
    MlrfError,
    NotPermittedError,
    NotReadyError,
    UnauthenticatedError,
)
from mlrf.serving.auth.guard import Guard
from mlrf.serving.error_encoder import ErrorEncoder
from mlrf.serving.error_status import ErrorStatus
from mlrf.serving.oip.grpc.call_status import status_block
from mlrf.serving.oip.grpc.caller import Caller
from mlrf.serving.oip.grpc.inference_calls import CallHandlers
from mlrf.serving.oip.grpc.message_codec import model_name_of
from mlrf.serving.route_spec import ADMIN
from mlrf.serving.routes import GRPC_CALLS, GrpcCall
from mlrf.serving.runtime.deadlines import earliest, too_late
from mlrf.serving.runtime.observer import ObservedRequest
from mlrf.serving.runtime.request_runtime import RequestRuntime
from mlrf.serving.runtime.results import Handler, Result, followed, unwrapped
from mlrf.serving.telemetry.metric_positions import Layout

_OK = 200
_MAX_DETAILS_BYTES = 2000
"""Details are sent in the header. Clients accept headers of 8 KB, and a byte that is not a plain character takes three."""
_PUSHBACK_MS = "1000"


class RefusedCallError(Exception):
    """The gRPC status of a refused request."""

    def __init__(self, status: ErrorStatus, details: str, metadata: tuple[tuple[str, str], ...]) -> None:
        super().__init__(details)
        self.code = status.grpc
        """The name of the code."""
        self.details = details
        self.metadata = metadata

    def block(self) -> bytes:
        """Return the trailer block that ends the call with this status."""
        return status_block(self.code, self.details, self.metadata)


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of the service, as observers see it."""

    route: int
    target: bytes
    handler: Handler
    always: bool
    """Whether it is answered even when the server is overloaded."""
    method: bytes = b"POST"
    traceparent: bytes | None = None
    observed: ObservedRequest | None = None

    def observed_by(self, request: ObservedRequest) -> Self:
        """Return the same call with the handler of an observed request."""
        return replace(self, handler=request.handler, observed=request)


class MessageHandler:
    """Handles single messages of all calls of a worker."""

    def __init__(self, runtime: RequestRuntime, errors: ErrorEncoder, guard: Guard | None, layout: Layout) -> None:
        self._runtime = runtime
        self._errors = errors
        self._guard = guard
        self._layout = layout
        self._calls: Mapping[str, Mapping[bytes, tuple[_Call, _Call]]] = {}
        """By path, and by model if messages name one; b"" for any other."""

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

    def refusal(
        self, caller: Caller, fault: Exception, path: str | None = None, started: float = 0.0
    ) -> RefusedCallError:
        """Return the status of a call that ends before a message is answered, and count it unless the call is a stream."""
        call = None if path is None else self._calls[path][b""][0]
        return self._refused(fault, caller.request_id or self._runtime.new_request_id(), call, started)

    def check(self, path: str, caller: Caller) -> bool:
        """Return whether a caller may have explanations; RefusedCallError if its key does not permit the call."""
        started = perf_counter()
        try:
            return self._may_explain(path, caller)
        except MlrfError as fault:
            raise self.refusal(caller, fault, path, started) from None

    def answer(self, path: str, caller: Caller, body: bytes, *, may_explain: bool) -> bytes | Awaitable[bytes]:
        """Return a message's answer, or an awaitable of it if that takes long; both raise RefusedCallError."""
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
                call = runtime.observe(replace(call, traceparent=caller.traceparent), identity, body, caller.peer)
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
        return content

    def _may_explain(self, path: str, caller: Caller) -> bool:
        """Return whether a caller may have explanations; UnauthenticatedError or NotPermittedError if it may not call."""
        return self._guard is None or self._guard.check(caller.authorization, self._layout.number(path))

    def is_admitted(self, path: str, caller: Caller) -> bool:
        """Return whether a caller may call."""
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
                raise NotReadyError("the server stopped before it processed this request; send it again") from None
            work = made if then is None else followed(made, then)
        return work

    def _refused(
        self, fault: Exception, identity: bytes, call: _Call | None = None, started: float = 0.0
    ) -> RefusedCallError:
        status, code, details = self._errors.report(fault, identity, 0 if call is None else call.route)
        text = identity.decode("ascii")
        metadata = [("x-request-id", text), ("mlrf-code", code)]
        if status.grpc == "UNAVAILABLE":
            metadata.append(("grpc-retry-pushback-ms", _PUSHBACK_MS))
        if status.grpc == "INTERNAL":
            details = f"{details}; request {text}"
        if call is not None:
            self._count(call, status.http, details.encode(), started)
        short = details.encode()[:_MAX_DETAILS_BYTES].decode(errors="ignore")
        return RefusedCallError(status, short, tuple(metadata))

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
