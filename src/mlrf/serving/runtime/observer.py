"""The port of whoever looks at requests: at one in so many, and at those that ask to be followed.

A request that nobody looks at pays for a countdown and two comparisons.
"""

from __future__ import annotations

from typing import Protocol, Self

from mlrf.serving.runtime.results import Handler

NEVER = 1 << 62


class ObservableCall(Protocol):
    """What a transport says of a request, whichever it is; immutable."""

    @property
    def route(self) -> int:
        """The number of its route."""
        ...

    @property
    def handler(self) -> Handler:
        """What answers it."""
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
        """Return the same call, answered by the handler of a request that is observed."""
        ...


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

    def begin(
        self, call: ObservableCall, request_id: bytes, body: bytes, client: str, *, is_due: bool
    ) -> ObservedRequest | None:
        """Look at a request before it is answered; None for one that is of no interest after all."""
        ...

    def refused(self, call: ObservableCall | None, request_id: bytes, status: int, client: str) -> None:
        """Take note of a request that was refused before it was whole; without a call when its head says nothing sound."""
        ...
