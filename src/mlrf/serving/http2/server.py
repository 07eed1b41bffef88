"""The HTTP/2 server of one worker: what its connections share (limits, counters, the factory of streams)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any, Protocol

from mlrf.core.trim_memory import trim_memory
from mlrf.serving.http.unsent import UnsentResponses
from mlrf.serving.http2.header_blocks import Fields
from mlrf.serving.http2.limits import Http2Limits
from mlrf.serving.http2.request_stream import Sender, Stream
from mlrf.serving.runtime.request_runtime import RequestRuntime

_DRAIN_TICK_S = 0.02
_SETTLE_S = 0.25
"""Seconds for a client to acknowledge that the server is stopping; until then the calls that it sends are answered."""
_LINGER_S = 1.5
_EVICTION_CHECKS = 32
_RETURNED_BYTES = 16 << 20


class Meter(Protocol):
    """Counts connections that the server closes."""

    def count_connections(self, change: int) -> None:
        """Count a connection opened (1) or closed (-1)."""
        ...

    def count_cut(self, reason: str) -> None:
        """Count a connection closed without an answer."""
        ...


class OpenConnection(Protocol):
    """The server's view of a connection."""

    awaits_settling: bool

    @property
    def is_ending(self) -> bool:
        """Whether no request is in progress, and none will be accepted."""
        ...

    def is_idle(self, now_s: float) -> bool:
        """Return whether it has been idle long enough to be closed for a new one."""
        ...

    def check(self, now_s: float) -> None:
        """Enforce the timeouts."""
        ...

    def announce_end(self) -> None:
        """Tell the client to send its next requests elsewhere."""
        ...

    def end_when_done(self) -> None:
        """Answer the requests in progress but no later ones, and close."""
        ...

    def close_gently(self) -> None:
        """Close a connection without requests."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class Http2Server:
    """The HTTP/2 side of one worker."""

    def __init__(
        self,
        runtime: RequestRuntime,
        limits: Http2Limits,
        meter: Meter,
        unsent: UnsentResponses,
        read_head: Callable[[Fields], Any],
        open_stream: Callable[[Sender, int, Any], Stream],
    ) -> None:
        """`read_head` parses the header fields of a request; `open_stream` gets its result and returns the stream."""
        self.runtime = runtime
        self.limits = limits
        self.meter = meter
        self.unsent = unsent
        self.read_head = read_head
        self.open_stream = open_stream
        self.tls_options: dict[str, Any] = {}
        """TLS arguments for asyncio; empty without TLS."""
        self.is_draining = False
        self._most_unfinished_bytes = 0
        self.n_streams = 0
        """Requests in progress on all connections."""
        self._connections: dict[OpenConnection, None] = {}

    def opened(self, connection: OpenConnection) -> bool:
        """Register a connection; return whether it may stay: over the limit an idle one is closed for it."""
        self._connections[connection] = None
        self.meter.count_connections(1)
        if len(self._connections) <= self.limits.max_connections:
            return True
        now_s = perf_counter()
        for _ in range(min(_EVICTION_CHECKS, len(self._connections))):
            oldest = next(iter(self._connections))
            self._connections[oldest] = self._connections.pop(oldest)
            if oldest is not connection and oldest.is_idle(now_s):
                self.meter.count_cut("idle_evicted")
                oldest.close_gently()
                return True
        self.meter.count_cut("over_limit")
        return False

    def closed(self, connection: OpenConnection) -> None:
        """Unregister a closed connection."""
        if self._connections.pop(connection, self) is None:
            self.meter.count_connections(-1)

    def check(self) -> None:
        """Enforce the timeouts of every connection; call it twice a second."""
        now_s = perf_counter()
        for connection in tuple(self._connections):
            connection.check(now_s)
        self._return_memory()

    def _return_memory(self) -> None:
        """Give the memory of many unfinished messages back to the system once they have ended; malloc would keep it."""
        unfinished_bytes = self.runtime.admission.unfinished_bytes
        self._most_unfinished_bytes = max(self._most_unfinished_bytes, unfinished_bytes)
        if self._most_unfinished_bytes > _RETURNED_BYTES and unfinished_bytes < self._most_unfinished_bytes // 2:
            self._most_unfinished_bytes = unfinished_bytes
            trim_memory()

    async def drain(self, limit_s: float) -> None:
        """Let the requests in progress finish, for at most `limit_s`, and close all connections.

        A client first learns that the server is stopping, and once it has acknowledged that, which of its requests are still
        answered: it sends the others to another server, and none is lost.
        """
        self.is_draining = True
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limit_s
        for connection in tuple(self._connections):
            connection.announce_end()
        settled_s = min(until_s, loop.time() + _SETTLE_S)
        await _until(settled_s, lambda: not any(each.awaits_settling for each in self._connections))
        for connection in tuple(self._connections):
            connection.end_when_done()
        await _until(until_s, lambda: all(each.is_ending for each in self._connections))
        await _until(min(until_s, loop.time() + _LINGER_S), lambda: not self._connections)
        for connection in tuple(self._connections):
            connection.abort()


async def _until(until_s: float, is_done: Callable[[], bool]) -> None:
    """Wait until a condition holds, at most until a time of the event loop."""
    loop = asyncio.get_running_loop()
    while not is_done() and loop.time() < until_s:  # noqa: ASYNC110  nothing notifies of it
        await asyncio.sleep(_DRAIN_TICK_S)
