"""Work off the event loop: counted correctly after disconnects, and never started for clients that are gone or late."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import time
import weakref

import pytest

from mlrf.core.errors import ConfigError, DeadlineExceededError, OverloadedError
from mlrf.serving.runtime.admission import Admission
from mlrf.serving.runtime.executor import MAX_AWAITED, Executor
from mlrf.serving.runtime.results import Awaited, Deferred

LIMIT_S = 120.0


class BlockedWork:
    """Work that blocks the thread until it is released."""

    def __init__(self):
        self.begun = threading.Event()
        self.go = threading.Event()
        self.work = Deferred(self.run)

    def run(self):
        self.begun.set()
        self.go.wait(LIMIT_S)
        return b"held"


async def with_a_busy_thread(story, max_wait_s=60.0):
    executor, blocked = Executor(Admission(max_wait_s)), BlockedWork()
    try:
        first = executor.start(blocked.work, 0, 1, 0.0)
        await asyncio.to_thread(blocked.begun.wait, LIMIT_S)
        return await story(executor, blocked, first)
    finally:
        blocked.go.set()
        executor.stop()


def run(story, **options):
    return asyncio.run(asyncio.wait_for(with_a_busy_thread(story, **options), LIMIT_S))


def test_the_same_work_runs_once_for_all_that_wait_for_it():
    async def story(executor, blocked, first):
        second = executor.start(blocked.work, 0, 1, 0.0)
        first.cancel()
        blocked.go.set()
        return await second

    assert run(story) == b"held"


def test_queued_work_whose_client_has_gone_is_never_begun():
    async def story(executor, blocked, first):
        done = []
        gone = executor.start(Deferred(lambda: done.append("gone") or b""), 0, 1, 0.0)
        here = executor.start(Deferred(lambda: done.append("here") or b""), 0, 1, 0.0)
        gone.cancel()
        await asyncio.sleep(0)
        counted = executor.n_in_flight()
        blocked.go.set()
        await here
        return done, counted

    assert run(story) == (["here"], (2, 0))


def test_a_deadline_is_kept_while_the_thread_is_busy():
    async def story(executor, blocked, first):
        done = []
        began_s = time.perf_counter()
        late = executor.start(Deferred(lambda: done.append("late") or b""), 0, 1, began_s + 0.05)
        with pytest.raises(DeadlineExceededError):
            await late
        waited_s = time.perf_counter() - began_s
        blocked.go.set()
        await first
        await executor.start(Deferred(lambda: b""), 0, 1, 0.0)
        return done, waited_s, executor.n_in_flight()

    done, waited_s, counted = run(story)
    assert (done, counted) == ([], (0, 0))
    assert waited_s >= 0.05


@pytest.mark.parametrize("begun", [True, False], ids=["running", "queued"])
def test_work_that_ends_after_its_deadline_is_recorded(begun):
    ends, least_s = [], []

    class Recording(Admission):
        def note_end(self, predicted_s, elapsed_s):
            ends.append((predicted_s, elapsed_s))

    async def story():
        admission = Recording(60.0)
        admission.note_run(0, 1, 0.02, 1.0)
        executor, blocked, free = Executor(admission), BlockedWork(), BlockedWork()
        late = blocked if begun else free

        def start(blocks):
            if blocks is not late:
                return executor.start(blocks.work, 0, 1, 0.0)
            deadline_s = time.perf_counter() + 0.06
            started = executor.start(blocks.work, 0, 1, deadline_s)
            least_s.append(deadline_s - time.perf_counter())
            return started

        try:
            await asyncio.sleep(0)
            first = start(blocked)
            await asyncio.to_thread(blocked.begun.wait, LIMIT_S)
            second = start(free)
            with pytest.raises(DeadlineExceededError):
                await (first if late is blocked else second)
            blocked.go.set()
            free.go.set()
            await (second if late is blocked else first)
        finally:
            blocked.go.set()
            free.go.set()
            executor.stop()

    asyncio.run(asyncio.wait_for(story(), LIMIT_S))
    ((predicted_s, elapsed_s),) = ends
    assert predicted_s == pytest.approx(0.02 if begun else 0.04)
    assert elapsed_s >= least_s[0]


def test_requests_waiting_for_a_store_are_limited():
    async def story(executor, blocked, first):
        over = asyncio.Event()

        async def wait():
            await over.wait()
            return b""

        waiting = [executor.start(Awaited(wait), 0, 1, 0.0) for _ in range(MAX_AWAITED)]
        with pytest.raises(OverloadedError, match=f"{MAX_AWAITED} requests"):
            executor.start(Awaited(wait), 0, 1, 0.0)
        over.set()
        await asyncio.gather(*waiting)
        over.clear()
        large = executor.start(Awaited(wait), 0, 1 << 40, 0.0)
        with pytest.raises(OverloadedError, match="1 requests"):
            executor.start(Awaited(wait), 0, 1, 0.0)
        over.set()
        await large

    run(story)


def test_work_past_max_wait_is_not_started():
    async def story(executor, blocked, first):
        done = []
        late = executor.start(Deferred(lambda: done.append("late") or b""), 0, 1, 0.0)
        await asyncio.sleep(0.06)
        blocked.go.set()
        with pytest.raises(OverloadedError, match="without being started"):
            await late
        return done

    assert run(story, max_wait_s=0.05) == []


def test_disconnect_during_await_keeps_counts_positive():
    async def story():
        work = Executor(Admission())
        never = asyncio.Event()

        async def wait():
            await never.wait()
            return b""

        in_flight = work.start(Awaited(wait), 0, 1, 0.0)
        await asyncio.sleep(0)
        counts = [work.n_in_flight()]
        in_flight.cancel()
        while work.n_in_flight() != (0, 0):
            counts.append(work.n_in_flight())
            await asyncio.sleep(0)
        work.stop()
        return counts

    counts = asyncio.run(asyncio.wait_for(story(), LIMIT_S))
    assert counts[0] == (0, 1)
    assert len(counts) > 1
    assert min(n for pair in counts for n in pair) == 0


def test_refused_work_is_freed_without_a_collection():
    """What an error's traceback holds, the body above all, must not wait for the collector: that runs once in a long while."""

    class Body:
        pass

    bodies = []

    def refuse():
        body = Body()
        bodies.append(weakref.ref(body))
        raise ConfigError(f"refused {type(body).__name__}")

    async def story(executor, blocked, first):
        blocked.go.set()
        await first
        for _ in range(3):
            with pytest.raises(ConfigError):
                await executor.start(Deferred(refuse), 0, 1, 0.0)
        await asyncio.sleep(0)

    gc.collect()
    gc.disable()
    try:
        run(story)
        assert [body() for body in bodies[:2]] == [None, None]
    finally:
        gc.enable()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere priorities belong to processes")
def test_the_thread_has_a_lower_priority_than_the_event_loop():
    """Row 7 of the scoreboard: single rows do not wait for batches."""

    def nice():
        return b"%d" % os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def story(executor, blocked, _first):
        blocked.go.set()
        return int(await executor.start(Deferred(nice), 0, 1, 0.0))

    assert run(story) == os.getpriority(os.PRIO_PROCESS, 0) + 5
