"""The shared store when its server fails: refused at once, never hung, never wrong, and recovered automatically."""

from __future__ import annotations

import asyncio
import random
import socket
import time
import tracemalloc
from contextlib import suppress

import pytest

from mlrf.core.errors import ConfigError, FeaturesUnavailableError, InvalidStoredRowError
from mlrf.core.feature import Feature
from mlrf.core.schema import Schema
from mlrf.features.entity_key import entity_key
from mlrf.features.redis_commands import RoundTrips, round_trips
from mlrf.features.redis_store import MAX_PUSHED, RedisStore
from mlrf.features.row_format import RowFormat
from redis_server import redis_server

ROWS = RowFormat(Schema((Feature("x"),)), entity_key([("id", "integer")]))
LIMIT_S = 0.05
"""More than the default, for a machine that others use too."""


def key(i: int) -> bytes:
    return ROWS.key.encode({"id": i})


def record(x: float) -> bytes:
    return ROWS.pack([x])


@pytest.fixture
def server(tmp_path):
    with redis_server(tmp_path) as running:
        yield running


def run_story(url, story, limit_s=LIMIT_S):
    async def whole():
        store = RedisStore(url, "model", ROWS, timeout_s=limit_s)
        try:
            return await story(store)
        finally:
            await store.close()

    return asyncio.run(whole())


async def refused_s(store) -> float:
    began_s = time.perf_counter()
    with pytest.raises(FeaturesUnavailableError, match="the feature store does not answer"):
        await store.fetch([key(1)])
    return time.perf_counter() - began_s


async def answered(store, limit_s: float = 60.0):
    async with asyncio.timeout(limit_s):
        while True:
            try:
                return await store.fetch([key(1)])
            except FeaturesUnavailableError:
                await asyncio.sleep(0.02)


async def broken(store, limit_s: float = 60.0):
    """Request until the circuit breaker has opened."""
    async with asyncio.timeout(limit_s):
        while not store._trips.breaker.is_open:
            await refused_s(store)


@pytest.mark.parametrize("fault", ["freeze", "kill"])
def test_lost_store_is_refused_fast_and_found_again(server, fault):
    async def story(store):
        await store.push([(key(1), record(1.0))])
        getattr(server, fault)()
        first_s = await refused_s(store)
        await broken(store)
        open_s = sorted([await refused_s(store) for _ in range(50)])
        if fault == "freeze":
            server.thaw()
            rows = await answered(store)
            assert rows[0].values[0] == 1.0
        else:
            server.start()
            assert await answered(store) == [None]
        return first_s, open_s[25]

    first_s, open_s = run_story(server.url, story)
    assert first_s < LIMIT_S + 30.0, "the limit, and not that of a connection"
    assert open_s < LIMIT_S / 2, "without asking the server"


def test_store_down_at_start_is_used_once_it_is_up(server):
    server.kill()

    async def story(store):
        await broken(store)
        server.start()
        assert await answered(store) == [None]

    run_story(server.url, story)


@pytest.mark.parametrize("fault", ["damaged", "of another key", "cut short", "another type", "another schema"])
def test_incomplete_responses_are_not_answers(server, fault):
    async def story(store):
        await store.push([(key(1), record(1.0)), (key(2), record(2.0))])
        trips, name = store._trips, store._rows

        async def ask(*command):
            return await trips.execute(*command, limit_s=5.0)

        value = await ask("HGET", name, key(1))
        match fault:
            case "damaged":
                await ask("HSET", name, key(1), value[:20] + bytes([value[20] ^ 1]) + value[21:])
            case "of another key":
                await ask("HSET", name, key(1), await ask("HGET", name, key(2)))
            case "cut short":
                await ask("HSET", name, key(1), value[:3])
            case "another type":
                await ask("DEL", name)
                await ask("SET", name, "x")
            case "another schema":
                other = RowFormat(Schema((Feature("y"),)), ROWS.key)
                other_store = RedisStore(server.url, "model", other)
                await other_store.push([(key(1), other.pack([1.0]))])
                await other_store.close()
                return await store.fetch([key(1)])
        with pytest.raises(FeaturesUnavailableError):
            await store.fetch([key(1)])
        return None

    rows = run_story(server.url, story)
    assert rows is None or rows[0].values[0] == 1.0  # rows of another schema are stored with them


def test_a_full_server_refuses_a_push_and_answers_on(tmp_path):
    with redis_server(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server:

        async def story(store):
            await store.push([(key(1), record(1.0))])

            async def fill():
                for n in range(100):
                    await store.push([(key(n * 5000 + i), record(1.0)) for i in range(5000)])

            for _ in range(5):  # more than the breaker lets pass
                with pytest.raises(FeaturesUnavailableError, match="refused the command") as refused:
                    await fill()
                assert "command not allowed when used memory" in refused.value.reason
            return await store.fetch([key(1)])

        assert run_story(server.url, story)[0].values[0] == 1.0


def test_read_only_replica_refuses_a_push_and_keeps_serving(server):
    async def story(store):
        await store.push([(key(1), record(1.0))])
        await store._trips.execute("CONFIG", "SET", "replica-serve-stale-data", "yes", limit_s=5.0)
        await store._trips.execute("REPLICAOF", "127.0.0.1", "1", limit_s=5.0)
        for _ in range(5):
            with pytest.raises(FeaturesUnavailableError, match="refused the command") as refused:
                await store.push([(key(1), record(2.0))])
            assert "read only replica" in refused.value.reason
        return await store.fetch([key(1)])

    assert run_story(server.url, story)[0].values[0] == 1.0


def test_a_value_longer_than_a_row_is_not_read(server):
    async def story(store):
        await store.push([(key(1), record(1.0)), (key(2), record(2.0))])
        await store._trips.execute("HSET", store._rows, key(1), b"x" * (20 << 20), limit_s=5.0)
        found = []
        tracemalloc.start()
        for _ in range(5):  # more than the breaker lets pass
            keys = ([key(1)], [key(2)], [key(3)], [key(2), key(1)])
            found.append(await asyncio.gather(*map(store.fetch, keys), return_exceptions=True))
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await store.push([(key(1), record(3.0))])
        return found, peak_bytes, await store.fetch([key(1)])

    # Answers that a busy machine gives late would open the breaker.
    found, peak_bytes, mended = run_story(server.url, story, limit_s=30.0)
    for long, (other,), absent, both in found:
        assert (other.values[0], absent) == (2.0, [None])
        for error in (long, both):
            assert isinstance(error, InvalidStoredRowError)
            assert "longer than a row" in str(error)
            assert error.details == {"key": {"id": 1}}
    assert peak_bytes < 4 << 20
    assert mended[0].values[0] == 3.0


@pytest.mark.parametrize(
    ("reply", "message", "reason"),
    [
        (
            b"-MOVED 3999 10.77.1.5:6381\r\n",
            "the feature store refused the command",
            "3999 10.77.1.5:6381",
        ),
        (b"-WRONGTYPE of redis-7.internal\r\n", "the feature store refused the command", "WRONGTYPE"),
        (b"*redis-7.internal\r\n", "the feature store does not answer", "ValueError: invalid literal"),
        (b"!redis-7.internal\r\n", "the feature store does not answer", "redis-7.internal"),
        (b"+redis-7.internal\r\n", "the feature store does not respond as Redis does", ""),
    ],
)
def test_what_a_server_says_is_a_reason_and_not_for_callers(reply, message, reason):
    writers = []

    async def answer(reader, writer):
        writers.append(writer)
        while command := await reader.read(1 << 16):
            writer.write(reply if b"HMGET" in command else b"+OK\r\n" * command.count(b"*"))

    async def story():
        async with await asyncio.start_server(answer, "127.0.0.1") as server:
            port = server.sockets[0].getsockname()[1]
            store = RedisStore(f"redis://127.0.0.1:{port}/0", "model", ROWS, timeout_s=5.0)
            try:
                with pytest.raises(FeaturesUnavailableError) as refused:
                    await store.fetch([key(1)])
            finally:
                await store.close()
                for each in writers:
                    each.close()
                await asyncio.gather(*(each.wait_closed() for each in writers), return_exceptions=True)
                await asyncio.sleep(0.01)
        return refused.value

    error = asyncio.run(story())
    assert (str(error), error.details) == (message, {}), error.reason
    assert reason in error.reason


def test_requests_that_hang_up_leave_no_answer_to_others(server):
    """Of 5,000 requests a fifth is cancelled at a random moment; every answer is the requested row."""

    async def ask(store, i: int) -> int:
        rows = await store.fetch([key(i), key(i + 1)])
        assert [row.values[0] for row in rows] == [float(i), float(i + 1)]
        return 1

    async def story(store):
        await store.push([(key(i), record(float(i))) for i in range(1001)])
        rng = random.Random(5)
        answers = 0
        for _ in range(50):
            tasks = [asyncio.create_task(ask(store, rng.randrange(1000))) for _ in range(100)]
            for task in rng.sample(tasks, 20):
                asyncio.get_running_loop().call_later(rng.random() * 0.002, task.cancel)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            wrong = [r for r in results if isinstance(r, Exception) and not isinstance(r, FeaturesUnavailableError)]
            assert not wrong
            answers += sum(r == 1 for r in results)
        return answers

    assert run_story(server.url, story) > 3000


def test_next_client_reuses_open_connections(server):
    """A new version: its first requests must not wait for a connection."""

    async def story(first):
        await first.connect(5.0)
        assert first._trips._free.qsize() == 1
        second = RedisStore(server.url, "model", ROWS, timeout_s=LIMIT_S, trips=round_trips(server.url))
        await second.connect(5.0)
        third = RedisStore(server.url, "model", ROWS, timeout_s=LIMIT_S, trips=round_trips(server.url))
        assert third._trips is second._trips is not first._trips
        await third.close()
        assert round_trips(server.url) is not third._trips

    run_story(server.url, story)


def test_early_connecting_neither_blocks_nor_counts(server):
    server.kill()

    async def story(store):
        for _ in range(5):
            await store.connect(0.1)
        assert not store._trips.breaker.is_open
        server.start()
        assert await answered(store) == [None]

    run_story(server.url, story)


def test_lookups_of_one_iteration_are_one_command(server):
    async def story(store):
        await store.push([(key(i), record(float(i))) for i in range(50)])

        async def commands() -> int:
            found = await store._trips.execute("INFO", "commandstats", limit_s=60.0)
            return next((v["calls"] for k, v in found.items() if k.lower() == "cmdstat_hmget"), 0)

        before = await commands()
        rows = await asyncio.gather(*(store.fetch([key(i)]) for i in range(50)))
        assert [row[0].values[0] for row in rows] == [float(i) for i in range(50)]
        return await commands() - before

    assert run_story(server.url, story) == 1


def test_invalid_address_is_refused():
    with pytest.raises(ConfigError, match="--features: not the address of a store"):
        RedisStore("redis://host:port/0", "model", ROWS)


def test_a_push_that_would_hold_up_other_machines_is_refused(server):
    async def story(store):
        rows = [(key(0), record(1.0))] * MAX_PUSHED
        assert (await store.push(rows)).written == MAX_PUSHED
        with pytest.raises(FeaturesUnavailableError, match=f"push at most {MAX_PUSHED} at once"):
            await store.push([*rows, rows[0]])

    run_story(server.url, story)


def test_closed_store_abandons_its_pending_connection():
    """A port that accepts connections and sends nothing."""

    async def story(url):
        trips = RoundTrips(url)
        asking = asyncio.create_task(trips.execute("PING", limit_s=300.0))
        await asyncio.sleep(0.1)
        (connecting,) = trips._connecting
        await trips.close()
        with suppress(asyncio.CancelledError):
            await connecting
        assert connecting.cancelled()
        assert trips._free.empty()
        asking.cancel()

    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        asyncio.run(story(f"redis://127.0.0.1:{hole.getsockname()[1]}/0"))


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (b":7\r\n", "respond as Redis does"),
        (b"*0\r\n", "respond as Redis does"),
        (b"*2\r\n$-1\r\n$-1\r\n", "respond as Redis does"),
        (b"*1\r\n:7\r\n", "it is not a string of bytes"),
        (b"*1\r\n*1\r\n$1\r\nx\r\n", "it is not a string of bytes"),
    ],
)
def test_non_redis_server_is_refused_without_hanging(answer, refused):
    done = []

    async def lie(reader, writer):
        done.append(asyncio.current_task())
        while line := await reader.readline():
            words = []
            for _ in range(int(line[1:])):
                size = int((await reader.readline())[1:])
                words.append((await reader.readexactly(size + 2))[:-2])
            writer.write(answer if words[0] == b"HMGET" else b"+OK\r\n")
        writer.close()
        await writer.wait_closed()

    async def story():
        async with await asyncio.start_server(lie, "127.0.0.1", 0) as liar:
            store = RedisStore(f"redis://127.0.0.1:{liar.sockets[0].getsockname()[1]}/0", "model", ROWS, timeout_s=60.0)
            with pytest.raises(FeaturesUnavailableError, match=refused):
                await asyncio.wait_for(store.fetch([key(1)]), 300.0)
            await store.close()
            await asyncio.gather(*done)

    asyncio.run(story())
