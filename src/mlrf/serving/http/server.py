"""The HTTP/1.1 server of one worker: what its connections share (router, limits, clock, meter, cached heads)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from time import perf_counter
from typing import Any, ClassVar, Protocol
from weakref import WeakSet

import msgspec

from mlrf.core.errors import BodyTooLargeError
from mlrf.serving.error_status import reason_phrases
from mlrf.serving.http.head import Head
from mlrf.serving.http.over_limit import OverLimit
from mlrf.serving.http.router import Call, Router, Wrap, preflight_call
from mlrf.serving.http.unsent import UnsentResponses
from mlrf.serving.request_limits import RequestLimits
from mlrf.serving.runtime.observer import RequestObserver
from mlrf.serving.runtime.request_runtime import RequestRuntime

_MAX_CALLS = 1024
_MAX_REMEMBERED_BYTES = 4096
"""Longest head that is cached: long heads rarely repeat."""
_KEYS_S = 0.05
"""Seconds between two checks for changed keys in a busy server."""
DRAIN_IDLE_S = 2.0
"""Seconds an idle connection, or a TLS handshake, may last once the server drains."""
_EVICTION_CHECKS = 32
"""Connections examined for eviction when a new one exceeds the limit."""
_DRAIN_TICK_S = 0.02

Refusal = Callable[[Exception, bytes, int], tuple[int, bytes, bytes]]
"""Takes an error, a request id and a route number; returns status, body and header lines."""


class Meter(Protocol):
    """Counts requests and connections."""

    def count_request(self, route: int, status: int, elapsed_s: float) -> None:
        """Count one response."""
        ...

    def count_connections(self, change: int) -> None:
        """Count a connection opened (1) or closed (-1)."""
        ...

    def count_cut(self, reason: str) -> None:
        """Count a connection closed without a response: `idle_evicted`, `over_limit` or `slow_reader`."""
        ...


class OpenConnection(Protocol):
    """The server's view of a client connection."""

    def check(self, now: float) -> None:
        """Enforce the timeouts."""
        ...

    def is_idle(self) -> bool:
        """Return whether it has been idle long enough to be evicted."""
        ...

    def close_idle(self) -> None:
        """Close an idle connection."""
        ...


class Guard(Protocol):
    """Authorizes requests by the key in their head."""

    def admit(self, head: Head, route: int) -> Wrap | None:
        """Return a wrapper for the route's handler, or None; raises MlrfError if the key does not permit the route."""
        ...

    def must_forget(self) -> bool:
        """Return whether keys have changed, so that cached decisions are invalid."""
        ...


class Cors(Protocol):
    """The CORS policy, as response header lines."""

    def lines(self, head: Head) -> bytes:
        """Return the header lines of any response to this head."""
        ...

    def preflight(self, head: Head) -> bytes | None:
        """Return the header lines of the response to a preflight, None for any other request."""
        ...


class HttpServer(RequestRuntime):
    """The HTTP side of one worker."""

    status_lines: ClassVar[dict[int, bytes]] = {
        status: f"HTTP/1.1 {status} {reason}\r\n".encode() for status, reason in reason_phrases().items()
    }

    def __init__(
        self,
        router: Router,
        limits: RequestLimits,
        meter: Meter,
        refusal: Refusal,
        heartbeat: Callable[[], None],
        observer: RequestObserver | None = None,
    ) -> None:
        super().__init__(meter, heartbeat, limits.max_wait_s, observer)
        self.router = router
        self.limits = limits
        self.meter = meter
        self.refusal = refusal
        self.draining_since: float | None = None
        self.calls: dict[bytes, Call] = {}
        self._connections: OrderedDict[OpenConnection, None] = OrderedDict()
        """In the order in which they are examined for eviction: a connection found busy moves to the end."""
        self._handshakes: WeakSet[OpenConnection] = WeakSet()
        """Connections in a TLS handshake. Weak, because asyncio does not report a failed one."""
        self._keys_due_s = 0.0
        self.over_limit = OverLimit(self.admission)
        self.unsent = UnsentResponses()
        self.guard: Guard | None = None
        self.cors: Cors | None = None
        self.tls_options: dict[str, Any] = {}
        """TLS arguments for asyncio; empty without TLS."""

    def call_of(self, head: Head, lines: bytes) -> Call:
        """Return the call for a head, with `lines` added to its response; raises MlrfError if it is refused."""
        allowed = None if self.cors is None else self.cors.preflight(head)
        if allowed is not None:
            if head.content_length or head.chunked:
                # Refused before reading: a preflight needs no key, so it must not be able to send a body.
                raise BodyTooLargeError("a CORS preflight has no body", max_bytes=0)
            return preflight_call(head, allowed)
        call = self.router.call(head, None if self.guard is None else self.guard.admit)
        return msgspec.structs.replace(call, extra=lines) if lines else call

    def remember(self, raw: bytes, call: Call) -> None:
        """Cache the call of a head for the next request with the same bytes."""
        if len(raw) > _MAX_REMEMBERED_BYTES:
            return
        if len(self.calls) >= _MAX_CALLS:
            self.calls.clear()
        self.calls[raw] = call

    def route_by(self, router: Router) -> None:
        """Replace the router for later requests; requests in progress keep their handlers."""
        self.router = router
        self.calls.clear()

    def handshake_began(self, connection: OpenConnection) -> None:
        """Register a connection whose TLS handshake has begun."""
        self._handshakes.add(connection)

    def handshake_ended(self, connection: OpenConnection) -> None:
        """Unregister a connection whose TLS handshake has ended."""
        self._handshakes.discard(connection)

    def opened(self, connection: OpenConnection) -> None:
        """Register an open connection."""
        self._connections[connection] = None
        self.admission.n_connections += 1
        self.meter.count_connections(1)

    def closed(self, connection: OpenConnection) -> None:
        """Unregister a closed connection."""
        self._connections.pop(connection, None)
        self.admission.n_connections -= 1
        self.meter.count_connections(-1)

    def is_over_limit(self) -> bool:
        """Return whether more connections are open than `max_connections`."""
        return self.admission.n_connections > self.limits.max_connections

    def evict_idle(self) -> bool:
        """Close one idle connection and return True, or False if none of the next few is idle.

        Second-chance (clock) order instead of least recently used, which would cost every request.
        """
        for _ in range(min(_EVICTION_CHECKS, len(self._connections))):
            connection = next(iter(self._connections))
            self._connections.move_to_end(connection)
            if connection.is_idle():
                connection.close_idle()
                self.meter.count_cut("idle_evicted")
                return True
        return False

    def on_due(self, now_s: float) -> None:
        """Run the periodic work of a busy loop, and check for changed keys."""
        super().on_due(now_s)
        if now_s > self._keys_due_s:
            self._check_keys(now_s)

    def tick(self) -> None:
        """Send the heartbeat and enforce timeouts; call it every `BEAT_S`."""
        now_s = perf_counter()
        self.beat(now_s)
        self.on_due(now_s)
        self._check_keys(now_s)
        for connection in tuple(self._connections):
            connection.check(self.clock.now)

    def _check_keys(self, now_s: float) -> None:
        """Clear the cached heads when keys have changed, so that a revoked key is refused."""
        self._keys_due_s = now_s + _KEYS_S
        if self.guard is not None and self.guard.must_forget():
            self.calls.clear()

    async def drain(self, limit_s: float) -> None:
        """Wait until every connection has finished, for at most `limit_s` seconds.

        A request in progress is answered; an idle connection has two seconds for one more request, answered with
        `Connection: close`, and a TLS handshake has the same two seconds to complete.
        """
        self.clock.tick()
        self.draining_since = self.clock.now
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit_s
        handshakes_until = loop.time() + min(limit_s, DRAIN_IDLE_S)
        while (self._connections and loop.time() < deadline) or (self._handshakes and loop.time() < handshakes_until):
            await asyncio.sleep(_DRAIN_TICK_S)
            self.tick()

    async def stop(self) -> int:
        """Cancel unanswered work, and return how many connections are still open."""
        self.work.stop()
        if self._connections:
            # Let the cancelled requests write their 503.
            await asyncio.sleep(_DRAIN_TICK_S)
        self._bounds_turns = False
        return len(self._connections)
