"""Answers that are not made at once, but in the worker's thread or by a coroutine: bounded in number and bytes, and timed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter

from mlrf.core.errors import DeadlineExceededError, OverloadedError
from mlrf.serving.runtime.admission import Admission
from mlrf.serving.runtime.results import Awaited, Deferred, Result
from mlrf.serving.runtime.single_flight import InFlight

MOST_AWAITED = 1024
"""How many answers may wait for others: each holds its request's body, none the processor."""
_MOST_AWAITED_BYTES = 64 << 20


class Executor:
    """What a worker makes beside its loop."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        # One thread: more would take the loop's own processor time; engines release the GIL while they work.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlrf-deferred")
        self._flights: dict[Deferred | Awaited, InFlight] = {}
        self._n_awaited = 0
        self._n_awaited_bytes = 0

    def start(self, work: Deferred | Awaited, route: int, n_bytes: int, deadline_s: float) -> asyncio.Future[Result]:
        """Return the answer to come of work for a body of `n_bytes`; the same work is under way once, whoever waits for it.

        OverloadedError when too much is under way already. `deadline_s` is a time of `perf_counter` after which the caller does
        not wait for the answer any more, or 0: work whose turn comes when nobody waits is not begun, and ends with
        DeadlineExceededError.
        """
        flight = self._flights.get(work)
        if flight is None:
            flight = self._wait_for(work, n_bytes) if isinstance(work, Awaited) else self._put(work, route, n_bytes)
            self._flights[work] = flight
        place = flight.board(deadline_s)
        if deadline_s and isinstance(work, Awaited):
            _limit(place, deadline_s)
        return place

    def n_under_way(self) -> tuple[int, int]:
        """Return how many answers the thread is making or has before it, and how many wait for others."""
        # What was called off is no flight any more, and is still awaited until its coroutine has ended.
        return sum(isinstance(work, Deferred) for work in self._flights), self._n_awaited

    def stop(self) -> None:
        """Drop what is not begun: the interpreter joins the thread at exit, and would work through it for nobody."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _put(self, work: Deferred, route: int, n_bytes: int) -> InFlight:
        """Put work before the worker's thread."""
        admission = self._admission
        admission.enter(route, n_bytes)
        run = _Run(work.run)
        submitted: Future[Result] = self._thread.submit(run)
        future = asyncio.wrap_future(submitted)

        def call_off() -> None:
            # What runs already cannot be called off, and lands: its answer may be kept though nobody waits for it.
            if submitted.cancel():
                self._forget(work, flight)
                admission.leave(n_bytes)

        def landed(_future: asyncio.Future[Result]) -> None:
            if not submitted.cancelled():
                self._forget(work, flight)
                admission.leave(n_bytes)
            if run.ended_s:
                admission.note_run(run.began_s - run.entered_s, run.ended_s - run.began_s, perf_counter())
                work.after()

        future.add_done_callback(landed)
        flight = run.flight = InFlight(future, call_off)
        return flight

    def _wait_for(self, work: Awaited, n_bytes: int) -> InFlight:
        full = self._n_awaited_bytes + n_bytes > _MOST_AWAITED_BYTES and self._n_awaited
        if self._n_awaited >= MOST_AWAITED or full:
            raise OverloadedError(f"{self._n_awaited} requests wait for others' answers; try again later")
        self._n_awaited += 1
        self._n_awaited_bytes += n_bytes
        task = asyncio.get_running_loop().create_task(work.run())

        def call_off() -> None:
            self._forget(work, flight)
            task.cancel()

        def landed(_task: asyncio.Future[Result]) -> None:
            self._n_awaited -= 1
            self._n_awaited_bytes -= n_bytes
            self._forget(work, flight)

        task.add_done_callback(landed)
        flight = InFlight(task, call_off)
        return flight

    def _forget(self, work: Deferred | Awaited, flight: InFlight) -> None:
        # The same work may be under way anew since this flight was called off.
        if self._flights.get(work) is flight:
            del self._flights[work]


class _Run:
    """One run in the thread, and when it was asked for, begun and done."""

    __slots__ = ("_run", "began_s", "ended_s", "entered_s", "flight")

    def __init__(self, run: Callable[[], Result]) -> None:
        self._run = run
        self.flight: InFlight | None = None
        self.entered_s = perf_counter()
        self.began_s = 0.0
        self.ended_s = 0.0

    def __call__(self) -> Result:
        self.began_s = perf_counter()
        if self.flight is not None and 0 < self.flight.until_s < self.began_s:
            raise too_late()
        try:
            return self._run()
        finally:
            self.ended_s = perf_counter()


def _limit(place: asyncio.Future[Result], deadline_s: float) -> None:
    """End one's waiting when its time is over."""

    def expire() -> None:
        if not place.done():
            place.set_exception(too_late())

    timer = asyncio.get_running_loop().call_later(max(0.0, deadline_s - perf_counter()), expire)
    place.add_done_callback(lambda _: timer.cancel())


def too_late() -> DeadlineExceededError:
    """Return the fault of a request whose time is over."""
    return DeadlineExceededError(
        "the time that the caller allows (X-Request-Timeout-Ms; over gRPC the deadline) was over before the answer was made"
    )
