"""One keep-alive connection of a load: a request goes out, an answer is judged. Knows nothing of rates or tallies."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, cast

import httptools
import msgspec

CONNECTION_LOST = "connection lost"


class Owner(Protocol):
    """Who hands requests to connections and hears what became of them."""

    def free(self, connection: Connection) -> None:
        """Hear that the connection is open and has nothing to do."""

    def settle(self, due_at: float, fault: str | None, *, answered: bool) -> None:
        """Hear that the request due at `due_at` has ended; `fault` says what was wrong, None that nothing was."""

    def blame(self, fault: str) -> None:
        """Hear of something wrong that belongs to no request."""

    def lost(self, connection: Connection) -> None:
        """Hear that the connection is gone; what it carried has been settled."""


class Connection(asyncio.Protocol):
    """Carries one request at a time, no pipelining; `due_at` is that of the request on its way, None when idle."""

    def __init__(self, owner: Owner) -> None:
        self.due_at: float | None = None
        self.idle_since = 0.0
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._answers = 0
        self._status = 0
        self._keep_alive = True
        self._closing = False

    def send(self, request: bytes, due_at: float) -> None:
        """Send a whole request; the connection must be idle."""
        self.due_at = due_at
        self._body.clear()
        cast("asyncio.Transport", self._transport).write(request)

    def abort(self) -> None:
        """Close at once, unheard."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note that the connection is open."""
        self._transport = cast("asyncio.Transport", transport)
        self._rest()

    def data_received(self, data: bytes) -> None:
        """Parse and judge what came."""
        self._answers = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end("not HTTP")
            self.abort()
            return
        if self._answers == 0:
            return
        if self._answers > 1 or self.due_at is None:
            self._end("answers nobody asked for")
            self.abort()
            return
        self._end(_fault(self._status, self._body))
        if self._keep_alive:
            self._rest()
        else:
            # Announced with the answer: the server's good right, and no error.
            self._closing = True
            cast("asyncio.Transport", self._transport).close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the reason changes nothing
        """Settle what was on its way when either side closed."""
        if not self._closing:
            self._end(CONNECTION_LOST, answered=False)
        self._owner.lost(self)

    def on_body(self, chunk: bytes) -> None:
        """Keep a part of the answer's body; the parser calls this."""
        self._body += chunk

    def on_message_complete(self) -> None:
        """Note a whole answer; judged when the parser has returned, so that no error of ours is taken for one of HTTP."""
        # Asked here, because the parser forgets both on its way out.
        self._status, self._keep_alive = self._parser.get_status_code(), self._parser.should_keep_alive()
        self._answers += 1

    def _rest(self) -> None:
        self.idle_since = time.perf_counter()
        self._owner.free(self)

    def _end(self, fault: str | None, *, answered: bool = True) -> None:
        due_at, self.due_at = self.due_at, None
        if due_at is not None:
            self._owner.settle(due_at, fault, answered=answered)
        elif fault is not None:
            self._owner.blame(fault)


def _fault(status: int, body: bytearray) -> str | None:
    if status != 200:  # noqa: PLR2004  the one status that a prediction comes with
        return f"status {status}"
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "not JSON"
    return None
