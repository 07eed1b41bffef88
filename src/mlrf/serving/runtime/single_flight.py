"""Single flight: identical work runs once, and all requests that wait for it share the result."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mlrf.serving.runtime.results import Result


class InFlight:
    """Work in flight and a future for each request that waits for it; when the last of them leaves, it is cancelled."""

    __slots__ = ("_cancel_work", "_waiting", "_work", "until_s")

    def __init__(self, work: asyncio.Future[Result], cancel_work: Callable[[], object]) -> None:
        self._work = work
        self._cancel_work = cancel_work
        self._waiting: set[asyncio.Future[Result]] = set()
        self.until_s = 0.0
        """The latest time (`perf_counter`) at which a request that joined stops waiting for the work to begin."""
        work.add_done_callback(self._complete)

    def join(self, until_s: float) -> asyncio.Future[Result]:
        """Return a future of the result for one more request; cancelling it does not affect the other requests."""
        self.until_s = max(until_s, self.until_s)
        joined: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.add(joined)
        joined.add_done_callback(self._leave)
        return joined

    def _leave(self, joined: asyncio.Future[Result]) -> None:
        self._waiting.discard(joined)
        if not self._waiting and not self._work.done():
            self._cancel_work()

    def _complete(self, work: asyncio.Future[Result]) -> None:
        # Break the reference cycle, which would keep bodies and responses until the next garbage collection.
        self._cancel_work = _nothing
        fault = None if work.cancelled() else work.exception()
        for joined in self._waiting:
            if joined.done():
                continue
            if work.cancelled():
                joined.cancel()
            elif fault is not None:
                joined.set_exception(fault)
            else:
                joined.set_result(work.result())


def _nothing() -> None:
    pass
