"""One HTTP/1.1 connection of a load: sends a request and reads its response."""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple, Protocol, cast

import httptools

CONNECTION_LOST = "connection lost"


class Response(NamedTuple):
    """A complete response; header names are in lower case. Over gRPC the status is that of the call, 0 if it succeeded."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Owner(Protocol):
    """The owner of connections: gives them requests and is notified of the results."""

    def free(self, connection: Connection) -> None:
        """Record that the connection is open and can send a request."""

    def answered(self, number: int, due_at: float, response: Response) -> None:
        """Record the response to a request."""

    def failed(self, due_at: float | None, fault: str) -> None:
        """Record that the request due at `due_at` got no response, or (None) that an idle connection failed."""

    def lost(self, connection: Connection) -> None:
        """Record that the connection was closed; its requests have been reported."""


class Connection(Protocol):
    """A connection of a load, for one transport."""

    idle_since: float
    status: int
    """Status of the last response; 0 before the first."""

    @property
    def in_flight(self) -> list[float]:
        """When each request was due that has no response yet."""

    def send(self, request: bytes, number: int, due_at: float) -> None:
        """Send a request; the connection must be free."""

    def abort(self) -> None:
        """Close at once, without a report."""


class HttpConnection(asyncio.Protocol):
    """Sends one request at a time, without pipelining."""

    def __init__(self, owner: Owner) -> None:
        self.idle_since = 0.0
        self.status = 0
        self._due_at: float | None = None
        self._number = 0
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body = bytearray()
        self._answers = 0
        self._keep_alive = True
        self._closing = False

    @property
    def in_flight(self) -> list[float]:
        """When the request was due that has no response yet: at most one."""
        return [] if self._due_at is None else [self._due_at]

    def send(self, request: bytes, number: int, due_at: float) -> None:
        """Send a complete request; the connection must be idle."""
        self._number, self._due_at = number, due_at
        self._headers = {}
        self._body.clear()
        cast("asyncio.Transport", self._transport).write(request)

    def abort(self) -> None:
        """Close at once, without a report."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note that the connection is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._become_idle()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, and report a complete response."""
        self._answers = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("not HTTP")
            self.abort()
            return
        if self._answers == 0:
            return
        if self._answers > 1 or self._due_at is None:
            self._fail("unexpected responses")
            self.abort()
            return
        due_at, self._due_at = self._due_at, None
        self._owner.answered(self._number, due_at, Response(self.status, self._headers, bytes(self._body)))
        if self._keep_alive:
            self._become_idle()
        else:
            # Announced with the response, so it is not an error.
            self._closing = True
            cast("asyncio.Transport", self._transport).close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the reason changes nothing
        """Report the request in flight when either side closed."""
        if not self._closing:
            self._fail(CONNECTION_LOST)
        self._owner.lost(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header; called by the parser."""
        self._headers[name.lower()] = value

    def on_body(self, chunk: bytes) -> None:
        """Store a part of the response body; called by the parser."""
        self._body += chunk

    def on_message_complete(self) -> None:
        """Record a complete response. It is reported after the parser returns, which treats exceptions as HTTP errors."""
        # Read here, because the parser forgets both when it returns.
        self.status, self._keep_alive = self._parser.get_status_code(), self._parser.should_keep_alive()
        self._answers += 1

    def _become_idle(self) -> None:
        self.idle_since = time.perf_counter()
        self._owner.free(self)

    def _fail(self, fault: str) -> None:
        due_at, self._due_at = self._due_at, None
        self._owner.failed(due_at, fault)
