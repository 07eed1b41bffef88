"""The response half of a connection: calls the handler and writes the response."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from time import perf_counter

from mlrf.core.errors import NotReadyError
from mlrf.serving.http.router import JSON, Call, Framed
from mlrf.serving.http.server import HttpServer
from mlrf.serving.http.unsent import reset
from mlrf.serving.runtime.deadlines import earliest, too_late
from mlrf.serving.runtime.results import Awaited, Continued, Deferred, Result, followed, unwrapped
from mlrf.serving.runtime.run_queue import Turn

_OK = 200


class ResponseWriter(asyncio.Protocol):
    """Answers calls in order; the subclass reads requests, and `_continue_reading` after a deferred response."""

    __slots__ = (
        "_buffer",
        "_closing_since",
        "_descriptor",
        "_paused_since",
        "_request_began_s",
        "_server",
        "_since",
        "_transport",
        "_waiting",
    )
    _transport: asyncio.Transport
    _descriptor: int

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._buffer = bytearray()
        """Bytes of an incomplete request, and any that follow it."""
        self._waiting: asyncio.Future[Result] | Turn | None = None
        """A pending response or a turn in the run queue; later requests of this connection wait for it."""
        self._since = server.clock.now
        """When this connection last became idle, or when its unfinished request began."""
        self._request_began_s = 0.0
        """When the first byte of the unanswered request arrived (`perf_counter`); 0 if there is none."""
        self._paused_since = 0.0
        self._closing_since = 0.0

    def _continue_reading(self) -> None:
        raise NotImplementedError

    def _answer(self, call: Call, body: bytes) -> None:
        """Answer a complete request.

        The usual case is written out here, without the calls of the others (measured: a tenth of the interpreter's share of a
        request that the cache answers).
        """
        server = self._server
        server.until_observed -= 1
        if not call.is_plain or server.until_observed < 0 or server.draining_since is not None:
            self._answer_special(call, body)
            return
        started = perf_counter()
        try:
            content = call.handler(body)
        except Exception as fault:  # noqa: BLE001  any exception of a handler becomes an error response
            self._send_refusal(call, server.new_request_id(), started, fault)
            return
        if type(content) is not bytes:
            self._respond(call, server.new_request_id(), started, content, len(body), 0.0)
            return
        now_s = perf_counter()
        elapsed_s = now_s - started
        self._write(
            b"HTTP/1.1 200 OK\r\n%bContent-Type: %b\r\nContent-Length: %d\r\nX-Request-ID: %b-%x\r\n"
            b"Server-Timing: total;dur=%.3f\r\n\r\n%b"
            % (
                server.clock.date_line,
                call.content_type,
                len(content),
                server.id_prefix,
                server.next_number(),
                elapsed_s * 1e3,
                content,
            )
        )
        server.meter.count_request(call.route, _OK, elapsed_s)
        if now_s > server.due_s:
            server.on_due(now_s)

    def _answer_special(self, call: Call, body: bytes) -> None:
        """Answer a request that is observed, has a deadline, or whose response has another head."""
        started = perf_counter()
        server = self._server
        identity = call.request_id or server.new_request_id()
        deadline_s = 0.0
        if server.until_observed < 0 or call.traceparent is not None:
            call = server.observe(call, identity, body, client_of(self._transport))
        try:
            if call.timeout_s:
                deadline_s = (self._request_began_s or started - server.run_queue.lag_s(started)) + call.timeout_s
                if started > deadline_s:
                    raise too_late()
            content = call.handler(body)
        except Exception as fault:  # noqa: BLE001  as above
            self._send_refusal(call, identity, started, fault)
        else:
            self._respond(call, identity, started, content, len(body), deadline_s)

    def _respond(
        self, call: Call, identity: bytes, started: float, content: Result, n_bytes: int, deadline_s: float
    ) -> None:
        """Send what a handler returned, now or when it is computed."""
        if isinstance(content, bytes):
            self._send_answer(call, identity, started, content)
            return
        try:
            self._await(call, identity, started, content, n_bytes, deadline_s)
        except Exception as fault:  # noqa: BLE001  as above
            self._send_refusal(call, identity, started, fault)

    def _await(
        self,
        call: Call,
        identity: bytes,
        started: float,
        work: Deferred | Awaited | Continued,
        n_bytes: int,
        deadline_s: float,
    ) -> None:
        started_work, then, until_s = unwrapped(work)
        deadline_s = earliest(deadline_s, until_s)
        if started > self._server.due_s:
            self._server.on_due(started)

        def answer(made: asyncio.Future[Result], fault: BaseException | None) -> None:
            self._waiting = None
            if self._transport.is_closing():
                return
            if isinstance(fault, Exception):
                # Not raised again: the error's traceback would then refer to this frame, and this frame to the error, a
                # reference cycle that keeps the request's body until the next full collection.
                self._send_refusal(call, identity, started, fault)
            else:
                try:
                    content = made.result() if then is None else followed(made.result(), then)
                    if not isinstance(content, bytes):
                        self._await(call, identity, started, content, n_bytes, deadline_s)
                        return
                except Exception as error:  # noqa: BLE001  as above
                    self._send_refusal(call, identity, started, error)
                else:
                    self._send_answer(call, identity, started, content)
            if not (self._closing_since or self._paused_since):
                self._continue_reading()

        future = self._server.work.start(started_work, call.route, n_bytes, deadline_s)
        self._waiting = future
        future.add_done_callback(partial(self._finish, answer))

    def _finish(
        self, answer: Callable[[asyncio.Future[Result], BaseException | None], None], made: asyncio.Future[Result]
    ) -> None:
        """Answer a request whose response has been computed, now or in a turn of its own.

        Thousands of connections may wait for one computation. Without turns their responses were written between two polls of
        the sockets, and the memory of those that were cut for not reading was freed only after the last.
        """
        stopped = NotReadyError("the server stopped before it processed this request; send it again")
        fault = stopped if made.cancelled() else made.exception()
        if self._server.run_queue.is_behind and not made.cancelled():
            self._waiting = self._server.run_queue.put(lambda _slice_s: answer(made, fault))
        else:
            answer(made, fault)

    def _send_answer(self, call: Call, identity: bytes, started: float, content: bytes) -> None:
        kind, extra = call.content_type, call.extra
        if type(content) is Framed:
            kind, extra = content.content_type, content.lines + extra
        self._send(call, identity, started, kind, _OK, content, extra)

    def _send_refusal(self, call: Call, identity: bytes, started: float, fault: Exception) -> None:
        status, content, extra = self._server.refusal(fault, identity, call.route)
        self._send(call, identity, started, JSON, status, content, extra + call.extra)

    def _send(
        self,
        call: Call,
        identity: bytes,
        started: float,
        content_type: bytes,
        status: int,
        content: bytes,
        extra: bytes,
    ) -> None:
        server = self._server
        keep_alive = call.keep_alive and server.draining_since is None
        if not keep_alive:
            extra += b"Connection: close\r\n"
        elif call.is_http10:
            extra += b"Connection: keep-alive\r\n"
        now_s = perf_counter()
        elapsed_s = now_s - started
        if call.observed is not None:
            extra += call.observed.end(status, content, elapsed_s)
        self._write(
            b"%b%bContent-Type: %b\r\nContent-Length: %d\r\nX-Request-ID: %b\r\nServer-Timing: total;dur=%.3f\r\n%b\r\n%b"
            % (
                server.status_lines[status],
                server.clock.date_line,
                content_type,
                len(content),
                identity,
                elapsed_s * 1e3,
                extra,
                b"" if call.is_head else content,
            )
        )
        server.meter.count_request(call.route, status, elapsed_s)
        if now_s > server.due_s:
            server.on_due(now_s)
        if not keep_alive:
            self._closing_since = server.clock.now
            self._transport.close()

    def _write(self, answer: bytes) -> None:
        """Write to the socket directly, and hand the transport what the socket does not accept.

        The transport would write only after all other ready connections have been read. With 2,000 busy connections a response
        would wait for a thousand of them, and the socket would no longer be in the processor's cache (measured: 9 % of the
        time).
        """
        transport = self._transport
        was_read = not transport.get_write_buffer_size()
        if was_read:
            try:
                sent = os.write(self._descriptor, answer)
            except OSError:
                sent = 0
            if sent == len(answer):
                return
            answer = answer[sent:]
        transport.write(answer)
        self._server.unsent.note(self, self.unsent_bytes(), was_read=was_read)

    def unsent_bytes(self) -> int:
        """Return the bytes of responses that the socket has not taken yet."""
        return self._transport.get_write_buffer_size()

    def cut_slow_reader(self) -> None:
        """Close without sending the rest."""
        self._server.meter.count_cut("slow_reader")
        reset(self._transport)


def client_of(transport: asyncio.BaseTransport) -> str:
    """Return the client's address as "host:port"; empty for a Unix socket."""
    peer = transport.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
