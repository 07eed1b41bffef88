"""Requests queued for the event loop: in order, for a bounded time per iteration, and no longer than their connection lives."""

from __future__ import annotations

import asyncio
import time

from mlrf.serving.runtime.admission import Admission
from mlrf.serving.runtime.run_queue import RunQueue
from mlrf.serving.runtime.thresholds import TURN_S


def spend(seconds):
    until_s = time.perf_counter() + seconds
    while time.perf_counter() < until_s:
        pass


async def until_done(done, n):
    while len(done) < n:  # noqa: ASYNC110  what is waited for are turns of the loop
        await asyncio.sleep(0)


def test_queued_work_runs_in_order_between_loop_iterations():
    async def story():
        queue, done, looks = RunQueue(Admission()), [], []

        async def look():
            while len(done) < 40:
                looks.append(len(done))
                await asyncio.sleep(0)

        looking = asyncio.get_running_loop().create_task(look())
        for i in range(40):
            queue.put(lambda _slice_s, i=i: (spend(TURN_S / 5), done.append(i)))
        await until_done(done, 40)
        await looking
        return done, looks

    done, looks = asyncio.run(story())
    assert done == list(range(40))
    assert len(set(looks)) >= 5, "forty runs of a fifth of a turn are at least five turns"


def test_long_iteration_starts_queueing_until_queue_is_empty():
    async def story():
        admission = Admission()
        queue, done = RunQueue(admission), []
        queue.on_due(time.perf_counter())
        spend(TURN_S)
        queue.on_due(time.perf_counter())
        states = [(queue.is_behind, admission.strained)]
        queue.put(lambda _slice_s: done.append(0))
        await until_done(done, 1)
        await asyncio.sleep(0)
        states.append((queue.is_behind, admission.strained))
        return states

    assert asyncio.run(story()) == [(True, True), (False, False)]


def test_short_iterations_are_never_overloaded():
    async def story():
        queue = RunQueue(Admission())
        for _ in range(5):
            queue.on_due(time.perf_counter())
            await asyncio.sleep(0)
            assert not queue.is_behind

    asyncio.run(story())


def test_a_cancelled_turn_is_not_run():
    async def story():
        queue, done = RunQueue(Admission()), []
        queue.put(lambda _slice_s: done.append("gone")).cancel()
        queue.put(lambda _slice_s: done.append("here"))
        await until_done(done, 1)
        return done

    assert asyncio.run(story()) == ["here"]


def test_continued_work_queues_after_new_requests():
    async def story():
        queue, done = RunQueue(Admission()), []

        def again(_slice_s):
            done.append("again")
            if done.count("again") < 3:
                queue.put(again)

        queue.put(again)
        queue.put(lambda _slice_s: done.append("other"))
        await until_done(done, 4)
        return done

    assert asyncio.run(story()) == ["again", "other", "again", "again"]
