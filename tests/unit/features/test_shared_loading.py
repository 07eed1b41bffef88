"""Bulk loads of the shared store: complete or not at all, during other loads and pushes."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from mlrf.core.errors import FeaturesUnavailableError
from mlrf.core.feature import Feature
from mlrf.core.schema import Schema
from mlrf.features import redis_bulk_load, redis_store
from mlrf.features.entity_key import entity_key
from mlrf.features.interface import Batch
from mlrf.features.redis_bulk_load import load_shared
from mlrf.features.redis_store import RedisStore
from mlrf.features.row_format import RowFormat
from redis_server import redis_server

ROWS = RowFormat(Schema((Feature("x"),)), entity_key([("id", "integer")]))


def key(i: int) -> bytes:
    return ROWS.key.encode({"id": i})


class Given:
    """Rows of one value each, in batches; each batch takes a while to read."""

    def __init__(self, *batches: dict[int, float], pause_s: float = 0.0) -> None:
        self._batches = batches
        self._pause_s = pause_s

    def batches(self):
        for batch in self._batches:
            time.sleep(self._pause_s)
            yield Batch([key(i) for i in batch], [ROWS.pack([x]) for x in batch.values()])


@pytest.fixture
def server(tmp_path):
    with redis_server(tmp_path) as running:
        yield running


def run_story(url, story):
    async def whole():
        store, other = (RedisStore(url, "model", ROWS, timeout_s=60.0) for _ in range(2))
        try:
            return await story(store, other)
        finally:
            await store.close()
            await other.close()

    return asyncio.run(whole())


async def values(store, *ids: int) -> list[float | None]:
    return [None if row is None else row.values[0] for row in await store.fetch([key(i) for i in ids])]


async def left_over(store) -> list[bytes]:
    return sorted(await store._trips.execute("KEYS", "*", limit_s=60.0))


def test_load_replaces_all_rows_but_keeps_concurrent_pushes(server):
    async def story(store, other):
        await store.push([(key(1), ROWS.pack([1.0]))])
        loaded = await load_shared(store, Given({3: 3.0, 2: 2.0}, {4: 4.0}), "a.parquet")
        assert (loaded.rows, await values(store, 1, 2, 3, 4)) == (3, [None, 2.0, 3.0, 4.0])
        assert (await load_shared(store, Given(), "none.parquet")).rows == 0
        assert await values(store, 2) == [None]
        assert len(await left_over(store)) == 1
        token = await store.begin_load()
        await other.push([(key(9), ROWS.pack([9.0]))])
        await store.finish_load(token, "none.parquet", 0)
        assert await values(store, 9) == [9.0]

    run_story(server.url, story)


def test_a_file_that_takes_long_to_sort_is_loaded_all_the_same(server, monkeypatch):
    monkeypatch.setattr(redis_store, "LOAD_TTL_S", 3)
    monkeypatch.setattr(redis_bulk_load, "LOAD_TTL_S", 3)

    async def story(store, _other):
        await load_shared(store, Given(*({i: float(i)} for i in range(6)), pause_s=0.7), "slow.parquet")
        assert await values(store, 0, 5) == [0.0, 5.0]

    run_story(server.url, story)


def test_replaced_load_leaves_nothing_behind(server):
    async def story(store, other):
        lost = await store.begin_load()
        await store.add(lost, [(key(1), ROWS.pack([-1.0]))])
        with pytest.raises(FeaturesUnavailableError, match="another process is loading"):
            await other.begin_load()
        await store._trips.execute("DEL", store._loading, limit_s=60.0)  # it said nothing for too long
        taken = await other.begin_load()
        await other.add(taken, [(key(2), ROWS.pack([2.0]))])
        with pytest.raises(FeaturesUnavailableError, match="another load replaced it"):
            await store.add(lost, [(key(3), ROWS.pack([-3.0]))])
        with pytest.raises(FeaturesUnavailableError, match="another load replaced it"):
            await store.finish_load(lost, "lost.parquet", 1)
        await store.abandon_load(lost)
        await other.finish_load(taken, "taken.parquet", 1)
        assert await values(store, 1, 2, 3) == [None, 2.0, None]

    run_story(server.url, story)


def test_a_load_of_which_the_server_lost_rows_is_refused(server):
    async def story(store, _other):
        await store.push([(key(1), ROWS.pack([1.0]))])
        token = await store.begin_load()
        await store.add(token, [(key(2), ROWS.pack([2.0]))])
        await store._trips.execute("DEL", store._next, limit_s=60.0)
        with pytest.raises(FeaturesUnavailableError, match="lost rows during the load"):
            await store.finish_load(token, "a.parquet", 1)
        await store.abandon_load(token)
        assert await values(store, 1, 2) == [1.0, None]
        assert len(await left_over(store)) == 1

    run_story(server.url, story)


def test_a_load_that_fails_changes_nothing(server):
    class Broken(Given):
        def batches(self):
            yield from super().batches()
            raise ValueError("cut short")

    async def story(store, _other):
        await store.push([(key(1), ROWS.pack([1.0]))])
        with pytest.raises(ValueError, match="cut short"):
            await load_shared(store, Broken({2: 2.0}), "a.parquet")
        assert await values(store, 1, 2) == [1.0, None]
        assert len(await left_over(store)) == 1

    run_story(server.url, story)


def test_a_load_that_is_cancelled_reads_no_further(server):
    n_read, has_begun = 0, threading.Event()

    class Long:
        def batches(self):
            nonlocal n_read
            for n in range(5_000):
                time.sleep(0.02)
                n_read += 1
                has_begun.set()
                yield Batch([key(n)], [ROWS.pack([1.0])])

    async def story(store, _other):
        loading = asyncio.create_task(load_shared(store, Long(), "long.parquet"))
        await asyncio.to_thread(has_begun.wait)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert await left_over(store) == []

    run_story(server.url, story)
    assert n_read < 5_000
