"""The executor: runs work in the worker thread, or as a coroutine that waits for a store or other workers.

Both are bounded in number and bytes, and work for the thread also in time (`Admission`). Work leaves the queue when its last
client has disconnected or its deadline has passed.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter

from mlrf.core.errors import OverloadedError
from mlrf.serving.runtime.admission import Admission
from mlrf.serving.runtime.deadlines import too_late
from mlrf.serving.runtime.results import Awaited, Deferred, Result
from mlrf.serving.runtime.single_flight import InFlight
from mlrf.serving.runtime.stages import context_of, record_in_thread

MAX_AWAITED = 1024
"""Most coroutines at once; each holds its request's body but no processor time."""
_MAX_AWAITED_BYTES = 64 << 20
_NICE = 5
"""Added to the nice value of the worker's thread, so that event loops run at once when their sockets are ready.

A third of their share of a processor: a thread with much less would keep the GIL for long when another process preempts it.
"""


def _lower_priority() -> None:
    if sys.platform == "linux":  # elsewhere it would be the whole process
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)


class Executor:
    """Runs a worker's work off its event loop."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        # One thread: more would take the loop's own processor time; engines release the GIL while they work.
        self._thread = ThreadPoolExecutor(1, "mlrf-deferred", initializer=_lower_priority)
        self._in_flight: dict[Deferred | Awaited, InFlight] = {}
        self._n_awaited = 0
        self._n_awaited_bytes = 0

    def start(self, work: Deferred | Awaited, route: int, n_bytes: int, deadline_s: float) -> asyncio.Future[Result]:
        """Return a future of the result of work for a body of `n_bytes`; work that several requests start runs once.

        `deadline_s` is a time of `perf_counter`, or 0 for none; the future fails with DeadlineExceededError when it passes.
        OverloadedError, raised here or by the future, if the work is not expected to end before the deadline or, without one,
        to begin within `Admission.max_wait_s`.
        """
        in_flight = self._in_flight.get(work)
        if in_flight is None:
            if isinstance(work, Awaited):
                in_flight = self._wait_for(work, n_bytes)
            else:
                in_flight = self._enqueue(work, route, n_bytes, deadline_s)
            self._in_flight[work] = in_flight
        joined = in_flight.join(deadline_s or perf_counter() + self._admission.max_wait_s)
        if deadline_s:
            _limit(joined, deadline_s)
        return joined

    def n_in_flight(self) -> tuple[int, int]:
        """Return how many results are queued or running in the thread, and how many coroutines are waiting."""
        # A cancelled coroutine is no longer in flight, but counts until it has ended.
        return sum(isinstance(work, Deferred) for work in self._in_flight), self._n_awaited

    def stop(self) -> None:
        """Cancel work that has not begun; otherwise the interpreter would run all of it at exit, when it joins the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _enqueue(self, work: Deferred, route: int, n_bytes: int, deadline_s: float) -> InFlight:
        """Queue work for the worker's thread."""
        admission = self._admission
        # At least a nanosecond, because 0 means no limit.
        timeout_s = max(deadline_s - perf_counter(), 1e-9) if deadline_s else 0.0
        cost_s = admission.enter(route, n_bytes, timeout_s, work.cost_s)
        predicted_s = admission.queued_s
        run = _Run(record_in_thread(work.recorder, work.run))
        submitted: Future[Result] = self._thread.submit(run)
        future = asyncio.wrap_future(submitted)

        def cancel() -> None:
            # Work that is already running completes; its result may be cached though no request waits for it.
            if submitted.cancel():
                self._forget(work, in_flight)
                admission.leave(n_bytes, cost_s)
                if deadline_s and (now_s := perf_counter()) > deadline_s:
                    admission.note_end(predicted_s, now_s - run.queued_s)

        def complete(_future: asyncio.Future[Result]) -> None:
            if not submitted.cancelled():
                self._forget(work, in_flight)
                admission.leave(n_bytes, cost_s)
            if run.ended_s:
                if deadline_s:
                    admission.note_end(predicted_s, run.ended_s - run.queued_s)
                if not work.cost_s:
                    admission.note_run(route, n_bytes, run.ended_s - run.began_s, perf_counter())
                work.after()

        future.add_done_callback(complete)
        in_flight = run.in_flight = InFlight(future, cancel)
        return in_flight

    def _wait_for(self, work: Awaited, n_bytes: int) -> InFlight:
        full = self._n_awaited_bytes + n_bytes > _MAX_AWAITED_BYTES and self._n_awaited
        if self._n_awaited >= MAX_AWAITED or full:
            raise OverloadedError(
                f"{self._n_awaited} requests are waiting for a store or for other workers; try again later"
            )
        self._n_awaited += 1
        self._n_awaited_bytes += n_bytes
        task = asyncio.get_running_loop().create_task(work.run(), context=context_of(work.recorder))

        def cancel() -> None:
            self._forget(work, in_flight)
            task.cancel()

        def complete(_task: asyncio.Future[Result]) -> None:
            self._n_awaited -= 1
            self._n_awaited_bytes -= n_bytes
            self._forget(work, in_flight)

        task.add_done_callback(complete)
        in_flight = InFlight(task, cancel)
        return in_flight

    def _forget(self, work: Deferred | Awaited, in_flight: InFlight) -> None:
        # The same work may have been started again since this one was cancelled.
        if self._in_flight.get(work) is in_flight:
            del self._in_flight[work]


class _Run:
    """One run in the thread, with the times when it was queued, begun and done."""

    __slots__ = ("_run", "began_s", "ended_s", "in_flight", "queued_s")

    def __init__(self, run: Callable[[], Result]) -> None:
        self._run = run
        self.in_flight: InFlight | None = None
        self.queued_s = perf_counter()
        self.began_s = 0.0
        self.ended_s = 0.0

    def __call__(self) -> Result:
        self.began_s = perf_counter()
        # An error's traceback refers to this object. If this object referred to the future that gets the error, both would be
        # in a reference cycle that keeps the request's body until the next full collection.
        in_flight, self.in_flight = self.in_flight, None
        until_s = 0.0 if in_flight is None else in_flight.until_s
        del in_flight
        if 0 < until_s < self.began_s:
            # Requests with a deadline of their own have already been answered with 504.
            waited_ms = (self.began_s - self.queued_s) * 1e3
            raise OverloadedError(f"the request waited for {waited_ms:.0f} ms without being started; try again later")
        try:
            return self._run()
        finally:
            self.ended_s = perf_counter()


def _limit(joined: asyncio.Future[Result], deadline_s: float) -> None:
    """Fail the future of one request at its deadline."""

    def expire() -> None:
        if not joined.done():
            joined.set_exception(too_late())

    timer = asyncio.get_running_loop().call_later(max(0.0, deadline_s - perf_counter()), expire)
    joined.add_done_callback(lambda _: timer.cancel())
