"""Answers that are not made at once, but in the worker's thread or by a coroutine: bounded in number and bytes, and timed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from mlrf.core.errors import DeadlineExceededError, OverloadedError
from mlrf.serving.http.overload import Admission
from mlrf.serving.http.route import Awaited, Deferred, Result

MOST_AWAITED = 1024
"""How many answers may wait for others: each holds its request's body, none the processor."""
_MOST_AWAITED_BYTES = 64 << 20


class Work:
    """What a worker makes beside its loop."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        # One thread: more would take the loop's own processor time; engines release the GIL while they work.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mlrf-deferred")
        self._n_awaited = 0
        self._n_awaited_bytes = 0

    def start(self, work: Deferred | Awaited, route: int, n_bytes: int, deadline_s: float) -> asyncio.Future[Result]:
        """Start work for a body of `n_bytes`; OverloadedError when too much of it is under way already.

        `deadline_s` is a time of `perf_counter` after which nobody waits for the answer any more, or 0: work whose turn comes
        later is not begun, and ends with DeadlineExceededError.
        """
        if isinstance(work, Awaited):
            return self._await(work, n_bytes, deadline_s)
        admission = self._admission
        admission.enter(route, n_bytes)
        run = _Run(work.run, deadline_s)
        future = asyncio.get_running_loop().run_in_executor(self._thread, run)

        def leave(_future: asyncio.Future[Result]) -> None:
            admission.leave(n_bytes)
            if run.ended_s:
                admission.note_run(run.began_s - run.entered_s, run.ended_s - run.began_s, perf_counter())

        future.add_done_callback(leave)
        return future

    def stop(self) -> None:
        """Drop what is not begun: the interpreter joins the thread at exit, and would work through it for nobody."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _await(self, work: Awaited, n_bytes: int, deadline_s: float) -> asyncio.Future[Result]:
        full = self._n_awaited_bytes + n_bytes > _MOST_AWAITED_BYTES and self._n_awaited
        if self._n_awaited >= MOST_AWAITED or full:
            raise OverloadedError(f"{self._n_awaited} requests wait for others' answers; try again later")
        self._n_awaited += 1
        self._n_awaited_bytes += n_bytes
        making = work.run() if not deadline_s else _within(work, deadline_s)
        task = asyncio.get_running_loop().create_task(making)

        def leave(_task: asyncio.Future[Result]) -> None:
            self._n_awaited -= 1
            self._n_awaited_bytes -= n_bytes

        task.add_done_callback(leave)
        return task


class _Run:
    """One run in the thread, and when it was asked for, begun and done."""

    __slots__ = ("_deadline_s", "_run", "began_s", "ended_s", "entered_s")

    def __init__(self, run: Callable[[], Result], deadline_s: float) -> None:
        self._run = run
        self._deadline_s = deadline_s
        self.entered_s = perf_counter()
        self.began_s = 0.0
        self.ended_s = 0.0

    def __call__(self) -> Result:
        self.began_s = perf_counter()
        if self._deadline_s and self.began_s > self._deadline_s:
            raise too_late()
        try:
            return self._run()
        finally:
            self.ended_s = perf_counter()


async def _within(work: Awaited, deadline_s: float) -> Result:
    limit = asyncio.timeout(deadline_s - perf_counter())
    try:
        async with limit:
            return await work.run()
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise too_late() from error


def too_late() -> DeadlineExceededError:
    """Return the fault of a request whose time is over."""
    return DeadlineExceededError("the time that X-Request-Timeout-Ms allows was over before the answer was made")
