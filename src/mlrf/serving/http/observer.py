"""The port of whoever looks at requests: at one in so many, and at those that ask to be followed.

A request that nobody looks at pays for a countdown and two comparisons.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mlrf.serving.http.router import Call
from mlrf.serving.runtime.results import Handler

NEVER = 1 << 62


class ObservedRequest(Protocol):
    """One request that is looked at."""

    @property
    def handler(self) -> Handler:
        """What answers it."""
        ...

    def end(self, status: int, content: bytes, elapsed_s: float) -> bytes:
        """Take the answer, just before it is written, and return header lines to go with it."""
        ...


class RequestObserver(Protocol):
    """Looks at requests."""

    def skip(self) -> int:
        """Return how many requests may pass before the next one that is due."""
        ...

    def begin(self, call: Call, request_id: bytes, body: bytes, client: str, *, is_due: bool) -> ObservedRequest | None:
        """Look at a request before it is answered; None for one that is of no interest after all."""
        ...

    def refused(self, call: Call | None, request_id: bytes, status: int, client: str) -> None:
        """Take note of a request that was refused before it was whole; without a call when its head says nothing sound."""
        ...


def client_of(transport: asyncio.BaseTransport) -> str:
    """Return the address that a connection comes from; empty for a Unix socket's."""
    peer = transport.get_extra_info("peername")
    return f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else ""
