"""A connection that enforces limits: timeouts, memory for unfinished bodies, and the refusals that follow."""

from __future__ import annotations

from time import perf_counter

from mlrf.core.errors import MlrfError, OverloadedError, RequestTimeoutError
from mlrf.serving.http.chunked_body import ChunkedBody, DroppedBody
from mlrf.serving.http.response_writer import ResponseWriter, client_of
from mlrf.serving.http.router import JSON, OTHER, Call
from mlrf.serving.http.server import DRAIN_IDLE_S, HttpServer

_DROPPED_BYTES = 1 << 20
"""Most bytes of a refused request's body that are read and discarded to keep the connection open."""
_LINGER_S = 1.0
"""Seconds for which a client may go on sending after its request was refused, so that it reads the response instead of a
reset."""
_IDLE_S = 1.0
"""Seconds of idleness after which a connection may be evicted for a new one."""


class LimitedConnection(ResponseWriter):
    """A connection that enforces timeouts and size limits."""

    __slots__ = ("_call", "_is_over_limit", "_reading", "_reserved_bytes", "_unsent_since")

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server)
        self._call: Call | None = None
        """The call whose body is being received."""
        self._reading: ChunkedBody | DroppedBody | None = None
        """The decoder of a chunked body, or the sink of a discarded one."""
        self._reserved_bytes = 0
        """This connection's share of the worker's memory limit for unfinished bodies."""
        self._unsent_since = 0.0
        self._is_over_limit = False
        """Whether it was accepted over the connection limit: only routes that always answer are served on it."""

    def _begin(self) -> None:
        # Set once a request, however many segments it arrives in: trickled bytes must not extend the timeout.
        if not self._request_began_s:
            self._request_began_s = perf_counter()
            self._since = self._server.clock.now

    def check(self, now: float) -> None:
        """Enforce the timeouts; called twice a second."""
        limits = self._server.limits
        if self._closing_since:
            # Responses still being sent to a slow reader get the usual write timeout.
            if self._transport.get_write_buffer_size():
                self._cut_if(now - self._closing_since > limits.write_timeout_s)
            elif now - self._closing_since > _LINGER_S:
                self._transport.abort()
        elif self._paused_since:
            self._cut_if(now - self._paused_since > limits.write_timeout_s)
        elif self._is_stuck(now):
            self._cut_if(True)
        elif self._waiting is not None:
            return
        elif self._request_began_s:
            self._check_unfinished(now)
        elif now > self._idle_until():
            self._transport.close()

    def _cut_if(self, has_timed_out: bool) -> None:
        if has_timed_out:
            self.cut_slow_reader()

    def is_idle(self) -> bool:
        """Return whether the connection has been idle long enough to be evicted."""
        return not (
            self._request_began_s
            or self._waiting is not None
            or self._paused_since
            or self._closing_since
            or self._transport.get_write_buffer_size()
            or self._server.clock.now - self._since < _IDLE_S
        )

    def close_idle(self) -> None:
        """Close an idle connection."""
        self._closing_since = self._server.clock.now
        self._transport.close()

    def refuse_connection(self) -> None:
        """Send 503 for too many connections, and close."""
        if not (self._closing_since or self._transport.is_closing()):
            self._refuse(self._too_many())

    def cut(self) -> None:
        """Close without a response."""
        self._server.meter.count_cut("over_limit")
        self._transport.abort()

    def _too_many(self) -> OverloadedError:
        n_open = self._server.limits.max_connections
        return OverloadedError(f"{n_open} connections are open in this worker, which is the limit; try again later")

    def _is_stuck(self, now: float) -> bool:
        """Return whether a response too short to pause writing has been unsent past the write timeout."""
        if not self._transport.get_write_buffer_size():
            self._unsent_since = 0.0
        elif not self._unsent_since:
            self._unsent_since = now
        return bool(self._unsent_since) and now - self._unsent_since > self._server.limits.write_timeout_s

    def _check_unfinished(self, now: float) -> None:
        limits = self._server.limits
        in_head = self._call is None and self._reading is None
        limit_s = min(limits.header_timeout_s, limits.request_timeout_s) if in_head else limits.request_timeout_s
        if now - self._since <= limit_s:
            return
        if isinstance(self._reading, DroppedBody):
            # A response has been sent already.
            self._transport.abort()
            return
        what = "head of the request" if in_head else "request"
        fault = RequestTimeoutError(f"the {what} was incomplete after {limit_s:g} s")
        self._refuse(fault, self._call.request_id if self._call is not None else None)

    def _idle_until(self) -> float:
        draining_since = self._server.draining_since
        if draining_since is None:
            return self._since + self._server.limits.idle_timeout_s
        return max(self._since, draining_since) + DRAIN_IDLE_S

    def _reserve(self, call: Call, n_bytes: int) -> bool:
        """Reserve memory for an unfinished body; return False when the limit is reached and the request was refused."""
        try:
            self._server.admission.reserve(n_bytes)
        except MlrfError as fault:
            self._refuse(fault, call.request_id, call.route)
            return False
        self._reserved_bytes += n_bytes
        return True

    def _release(self) -> None:
        self._server.admission.release(self._reserved_bytes)
        self._reserved_bytes = 0

    def _refuse_one(self, call: Call, fault: MlrfError, n_there: int) -> int:
        """Refuse a request before its body is read; return how many of the `n_there` received bytes belong to the body.

        The rest of the body is discarded as it arrives; if its length is unknown or large, the connection closes.
        """
        server = self._server
        n_left = call.content_length - n_there
        stays = call.keep_alive and server.draining_since is None and not call.expects_continue
        if call.chunked or (n_left > 0 and not (stays and n_left <= _DROPPED_BYTES)):
            self._refuse(fault, call.request_id, call.route)
            return n_there
        identity = call.request_id or server.new_request_id()
        self._request_began_s = 0.0
        if n_left > 0:
            self._reading = DroppedBody(n_left)
            self._begin()
        status, content, extra = server.refusal(fault, identity, call.route)
        self._send(call, identity, perf_counter(), JSON, status, content, extra + call.extra)
        if server.observer is not None:
            server.observer.refused(call, identity, status, client_of(self._transport))
        return min(n_there, call.content_length)

    def _refuse(
        self, fault: MlrfError, request_id: bytes | None = None, route: int = OTHER, lines: bytes = b""
    ) -> None:
        """Send the error response to a request that cannot be read to its end, and close.

        Further bytes are read and discarded for a while: closing with unread bytes would reset the connection and lose the
        response.
        """
        server = self._server
        identity = request_id or server.new_request_id()
        status, content, extra = server.refusal(fault, identity, route)
        self._transport.write(
            b"%b%bContent-Type: %b\r\nContent-Length: %d\r\nX-Request-ID: %b\r\n%bConnection: close\r\n\r\n%b"
            % (
                server.status_lines[status],
                server.clock.date_line,
                JSON,
                len(content),
                identity,
                extra + lines,
                content,
            )
        )
        server.meter.count_request(route, status, 0.0)
        if server.observer is not None:
            server.observer.refused(self._call, identity, status, client_of(self._transport))
        self._release()
        self._buffer.clear()
        self._reading = self._call = None
        self._closing_since = server.clock.now
        if self._transport.can_write_eof():
            self._transport.write_eof()
