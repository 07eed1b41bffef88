"""The interface of request observers: they see sampled requests and those with a trace context.

A request that is not observed costs a countdown and two comparisons.
"""

from __future__ import annotations

from typing import Protocol, Self

from mlrf.serving.runtime.results import Handler

NEVER = 1 << 62


class ObservableCall(Protocol):
    """What an observer sees of a request, for every transport; immutable."""

    @property
    def route(self) -> int:
        """The number of its route."""
        ...

    @property
    def handler(self) -> Handler:
        """The handler of the request."""
        ...

    @property
    def method(self) -> bytes:
        """The HTTP method; POST over gRPC."""
        ...

    @property
    def target(self) -> bytes:
        """The path, with the query if it has one."""
        ...

    @property
    def traceparent(self) -> bytes | None:
        """The header of that name."""
        ...

    def observed_by(self, request: ObservedRequest) -> Self:
        """Return a copy of the call that uses the observed request's handler."""
        ...


class ObservedRequest(Protocol):
    """One observed request."""

    @property
    def handler(self) -> Handler:
        """The handler of the request."""
        ...

    def end(self, status: int, content: bytes, elapsed_s: float) -> bytes:
        """Record the response just before it is written, and return header lines to add to it."""
        ...


class RequestObserver(Protocol):
    """Observes requests."""

    def skip(self) -> int:
        """Return how many requests to skip before the next sampled one."""
        ...

    def begin(
        self, call: ObservableCall, request_id: bytes, body: bytes, client: str, *, is_due: bool
    ) -> ObservedRequest | None:
        """Begin to observe a request before it is answered; return None to leave it unobserved."""
        ...

    def refused(self, call: ObservableCall | None, request_id: bytes, status: int, client: str) -> None:
        """Record a request refused before it was complete; `call` is None if its head was invalid."""
        ...
