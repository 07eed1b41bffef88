"""The results of a handler: response bytes, work for the worker thread (Deferred), or a coroutine (Awaited)."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias, TypeVar

import msgspec

from mlrf.core.errors import OverloadedError
from mlrf.serving.runtime.stages import QUEUE, Recorder, record, recording


class Deferred(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """An answer that takes too long for the event loop: `run` computes it in the worker thread, then the loop calls `after`.

    `after` is called when `run` has returned or raised; it is not called if `run` was never begun. Several requests may wait
    for one object, and `run` is called once for all of them. `run` may return an `Awaited`.
    """

    run: Callable[[], bytes | Awaited]
    after: Callable[[], None] = lambda: None
    transaction: int | None = None
    """The feature store's last transaction when the rows for the answer were read; None if it needs no rows."""
    fresh_until_s: float = math.inf
    """When the first of those rows becomes too old for this answer (`time.time`)."""
    recorder: Recorder | None = msgspec.field(default_factory=recording)
    """The recorder of the request that it was made for; None if that is not sampled."""
    cost_s: float = 0.0
    """Predicted seconds of `run`; 0 if they follow from the length of the body, as earlier bodies of the route show."""


class Awaited(msgspec.Struct, frozen=True, eq=False, weakref=True):
    """An answer that waits for another machine or for the other workers: a coroutine on the event loop.

    The coroutine may return a `Deferred` or another `Awaited`.
    """

    run: Callable[[], Coroutine[Any, Any, Result]]
    recorder: Recorder | None = msgspec.field(default_factory=recording)
    """As in `Deferred`."""


class Continued(msgspec.Struct, frozen=True):
    """Work whose outcome is not the answer yet: the loop passes it to `then`, once for each request that waits for the work."""

    work: Deferred | Awaited
    then: Callable[[bytes], Result]
    deadline_s: float = 0.0
    """When this request stops waiting (`perf_counter`), 0 for never; other requests for the same work have their own
    deadline."""


T = TypeVar("T")
Result: TypeAlias = bytes | Deferred | Awaited | Continued

Handler = Callable[[bytes], Result]
"""Takes a request body and returns the response body, or the work that makes it; raises MlrfError. Never blocks."""


def imported_late(make: Callable[[], T]) -> T:
    """Return what `make` returns, which imports modules for a request; OverloadedError if they cannot be imported now."""
    try:
        return make()
    except (ImportError, OSError, MemoryError) as error:
        raise OverloadedError(
            f"the worker could not load what answers this request ({type(error).__name__}); try again later"
        ) from error


class OnFirstUse:
    """A handler that is made for its first request, for routes that most servers are never asked for.

    `make` imports what the handler needs, which takes a few milliseconds, so that a start does not.
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Handler]) -> None:
        self._make = make
        self._made: Handler | None = None

    def handler(self) -> Handler:
        """Return the handler, always the same; call it on the event loop.

        OverloadedError if its modules cannot be imported now, as without a free file descriptor; the next request tries again.
        """
        if self._made is None:
            self._made = imported_late(self._make)
        return self._made

    def __call__(self, body: bytes) -> Result:
        """Answer a body."""
        return self.handler()(body)


def followed(made: Result, then: Callable[[bytes], Result]) -> Result:
    """Return the result of calling `then` with the bytes of `made`, once those are available."""
    if isinstance(made, bytes):
        return then(made)
    if isinstance(made, Continued):
        first = made.then
        return Continued(made.work, lambda content: followed(first(content), then), made.deadline_s)
    return Continued(made, then)


def unwrapped(
    work: Deferred | Awaited | Continued,
) -> tuple[Deferred | Awaited, Callable[[bytes], Result] | None, float]:
    """Return the work, the continuation for its outcome (or None), and the deadline of the waiting request (or 0)."""
    if isinstance(work, Continued):
        return work.work, work.then, work.deadline_s
    return work, None, 0.0


def limited(made: Result, deadline_s: float) -> Result:
    """Return the result with a deadline (a time of `perf_counter`; 0 leaves it unchanged)."""
    if not deadline_s or isinstance(made, bytes):
        return made
    if isinstance(made, Continued):
        return msgspec.structs.replace(made, deadline_s=deadline_s)
    return Continued(made, lambda content: content, deadline_s)


def recorded(recorder: Recorder, make: Callable[[bytes], Result], given: bytes) -> Result:
    """Return `make(given)` and record its stages, including those of the work that it returns."""
    made = record(recorder, make, given)
    if isinstance(made, bytes):
        return made
    recorder.enter(QUEUE)
    if not isinstance(made, Continued):
        return made
    return Continued(made.work, partial(recorded, recorder, made.then), made.deadline_s)
