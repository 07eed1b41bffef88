"""Work that takes its time, and all who wait for it: one or many, coming and going while it is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mlrf.serving.runtime.results import Result


class InFlight:
    """Work under way and the futures of those who wait for it; when the last of them leaves, it is called off."""

    __slots__ = ("_call_off", "_waiting", "_work", "until_s")

    def __init__(self, work: asyncio.Future[Result], call_off: Callable[[], object]) -> None:
        self._work = work
        self._call_off = call_off
        self._waiting: set[asyncio.Future[Result]] = set()
        self.until_s = -1.0
        """Until when (`perf_counter`) anybody who ever boarded waits: 0 for ever, below that before the first."""
        work.add_done_callback(self._land)

    def board(self, deadline_s: float) -> asyncio.Future[Result]:
        """Return a future of the answer for one more; to cancel it takes the answer from nobody else."""
        self.until_s = 0.0 if not (deadline_s and self.until_s) else max(deadline_s, self.until_s)
        place: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.add(place)
        place.add_done_callback(self._leave)
        return place

    def _leave(self, place: asyncio.Future[Result]) -> None:
        self._waiting.discard(place)
        if not self._waiting and not self._work.done():
            self._call_off()

    def _land(self, work: asyncio.Future[Result]) -> None:
        # No ring is left for the collector to find: it would keep bodies and answers until then.
        self._call_off = _nothing
        fault = None if work.cancelled() else work.exception()
        for place in self._waiting:
            if place.done():
                continue
            if work.cancelled():
                place.cancel()
            elif fault is not None:
                place.set_exception(fault)
            else:
                place.set_result(work.result())


def _nothing() -> None:
    pass
