"""What all connections of a worker share: routes, limits, the clock, the meter, and the heads seen before."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from time import perf_counter
from typing import Any, ClassVar, Protocol
from weakref import WeakSet

from mlrf.core.errors import BodyTooLargeError
from mlrf.serving.http.head import Head
from mlrf.serving.http.over_limit import OverLimit
from mlrf.serving.http.router import Call, Router, Wrap, preflight_call
from mlrf.serving.http.settings import HttpLimits
from mlrf.serving.runtime.observer import RequestObserver
from mlrf.serving.runtime.request_runtime import RequestRuntime

_MAX_CALLS = 1024
_MAX_REMEMBERED_BYTES = 4096
"""A client sends the same head again and again when it is short; long ones would only fill the memory."""
_KEYS_S = 0.05
"""How often a busy server looks whether keys have changed."""
DRAIN_IDLE_S = 2.0
"""How long an idle connection, or one that shakes hands, may stay once the server drains."""
_LOOKS = 32
"""At how many connections one that comes beyond the limit may have a look."""
_DRAIN_TICK_S = 0.02

Refusal = Callable[[Exception, bytes, int], tuple[int, bytes, bytes]]
"""From an error, a request id and the number of a route to a status, a body, and header lines."""


class Meter(Protocol):
    """What a server counts with."""

    def count_request(self, route: int, status: int, elapsed_s: float) -> None:
        """Count one answer."""
        ...

    def count_connections(self, change: int) -> None:
        """Count a connection opened (1) or closed (-1)."""
        ...

    def count_cut(self, reason: str) -> None:
        """Count a connection that is ended without a response: `idle_evicted`, `over_limit` or `slow_reader`."""
        ...


class Connected(Protocol):
    """One client's connection, as its server sees it."""

    def check(self, now: float) -> None:
        """End what has taken too long."""
        ...

    def is_idle(self) -> bool:
        """Whether nothing is under way, and has not been for a moment."""
        ...

    def close_idle(self) -> None:
        """Close an idle connection."""
        ...


class Guard(Protocol):
    """Who says whether a head's key may make its call."""

    def admit(self, head: Head, route: int) -> Wrap | None:
        """Return what is to be put around the route's handler, if anything; MlrfError where it may not be called."""
        ...

    def must_forget(self) -> bool:
        """Whether what was said before no longer holds."""
        ...


class Cors(Protocol):
    """Who says which pages of other origins may read answers, as header lines."""

    def lines(self, head: Head) -> bytes:
        """Return the lines of any answer to this head."""
        ...

    def preflight(self, head: Head) -> bytes | None:
        """Return the lines of the answer to a preflight, None for any other request."""
        ...


class HttpServer(RequestRuntime):
    """The HTTP side of one worker."""

    status_lines: ClassVar[dict[int, bytes]] = {
        s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus
    }

    def __init__(
        self,
        router: Router,
        limits: HttpLimits,
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
        self._connections: OrderedDict[Connected, None] = OrderedDict()
        """Those found busy when room was needed stand behind those that nobody has looked at."""
        self._handshakes: WeakSet[Connected] = WeakSet()
        """Those whose handshake is under way: nobody tells of one that fails."""
        self._keys_due_s = 0.0
        self.over_limit = OverLimit(self.admission)
        self.guard: Guard | None = None
        self.cors: Cors | None = None
        self.tls_options: dict[str, Any] = {}
        """What asyncio wants to hear of TLS for a listener or a connection; nothing where there is none."""

    def call_of(self, head: Head, lines: bytes) -> Call:
        """Return the call that a head may make, whose answers all carry `lines`; MlrfError where it may make none."""
        allowed = None if self.cors is None else self.cors.preflight(head)
        if allowed is not None:
            if head.content_length or head.chunked:
                # Refused by the head: nobody needs a key for a preflight, and none has a body.
                raise BodyTooLargeError("a CORS preflight has no body", max_bytes=0)
            return preflight_call(head, allowed)
        call = self.router.call(head, None if self.guard is None else self.guard.admit)
        return replace(call, extra=lines) if lines else call

    def remember(self, raw: bytes, call: Call) -> None:
        """Keep what a head asked for, for the next request with the same bytes."""
        if len(raw) > _MAX_REMEMBERED_BYTES:
            return
        if len(self.calls) >= _MAX_CALLS:
            self.calls.clear()
        self.calls[raw] = call

    def route_by(self, router: Router) -> None:
        """Find the handlers of the next requests with another router; those under way keep theirs."""
        self.router = router
        self.calls.clear()

    def handshake_began(self, connection: Connected) -> None:
        """Take note of a handshake that is under way."""
        self._handshakes.add(connection)

    def handshake_ended(self, connection: Connected) -> None:
        """Take note that it is over."""
        self._handshakes.discard(connection)

    def opened(self, connection: Connected) -> None:
        """Take note of a connection."""
        self._connections[connection] = None
        self.admission.n_connections += 1
        self.meter.count_connections(1)

    def closed(self, connection: Connected) -> None:
        """Forget a connection."""
        self._connections.pop(connection, None)
        self.admission.n_connections -= 1
        self.meter.count_connections(-1)

    def is_over_limit(self) -> bool:
        """Return whether more connections are open than may be."""
        return self.admission.n_connections > self.limits.max_connections

    def evict_idle(self) -> bool:
        """Close a connection that has been idle, for one that has come; False when none is found among the next few.

        Second chances (the clock of page replacement), not an order by last use: that would cost every request.
        """
        for _ in range(min(_LOOKS, len(self._connections))):
            connection = next(iter(self._connections))
            self._connections.move_to_end(connection)
            if connection.is_idle():
                connection.close_idle()
                self.meter.count_cut("idle_evicted")
                return True
        return False

    def on_due(self, now_s: float) -> None:
        """Do what a busy loop finds no time for; see if keys have changed."""
        super().on_due(now_s)
        if now_s > self._keys_due_s:
            self._check_keys(now_s)

    def tick(self) -> None:
        """Give a sign of life and end what has taken too long; call it every `BEAT_S`."""
        now_s = perf_counter()
        self.beat(now_s)
        self.on_due(now_s)
        self._check_keys(now_s)
        for connection in tuple(self._connections):
            connection.check(self.clock.now)

    def _check_keys(self, now_s: float) -> None:
        """Forget the heads seen before when keys have changed: a key that is revoked must not be accepted for its head."""
        self._keys_due_s = now_s + _KEYS_S
        if self.guard is not None and self.guard.must_forget():
            self.calls.clear()

    async def drain(self, limit_s: float) -> None:
        """Let every connection finish, for `limit_s` at the most.

        A request under way is answered; an idle connection gets two seconds for one more request, answered with
        `Connection: close`, and one that shakes hands the same two to end with that.
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
        """Drop what is not answered by now, and return how many connections that leaves."""
        self.work.stop()
        if self._connections:
            # Those who waited for it are told.
            await asyncio.sleep(_DRAIN_TICK_S)
        self._bounds_turns = False
        return len(self._connections)
