"""Work beside the loop is counted rightly whoever leaves: a gauge below zero ends a worker."""

from __future__ import annotations

import asyncio

from mlrf.serving.runtime.admission import Admission
from mlrf.serving.runtime.executor import Executor
from mlrf.serving.runtime.results import Awaited


def test_who_leaves_while_others_are_asked_makes_no_count_negative():
    async def story():
        work = Executor(Admission())
        never = asyncio.Event()

        async def wait():
            await never.wait()
            return b""

        place = work.start(Awaited(wait), 0, 1, 0.0)
        await asyncio.sleep(0)
        counts = [work.n_under_way()]
        place.cancel()
        while work.n_under_way() != (0, 0):
            counts.append(work.n_under_way())
            await asyncio.sleep(0)
        work.stop()
        return counts

    counts = asyncio.run(asyncio.wait_for(story(), 5))
    assert counts[0] == (0, 1)
    assert len(counts) > 1
    assert min(n for pair in counts for n in pair) == 0
