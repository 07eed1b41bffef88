"""The contract of every feature store: the same tests for each backend."""

from __future__ import annotations

import asyncio
import math
from uuid import uuid4

import pytest

from mlrf.core.errors import InvalidStoredRowError
from mlrf.core.feature import Feature
from mlrf.core.schema import Schema
from mlrf.features.entity_key import entity_key
from mlrf.features.interface import FeatureStore
from mlrf.features.lmdb_store import LmdbStore
from mlrf.features.redis_store import RedisStore
from mlrf.features.row_format import RowFormat
from redis_server import redis_server

SCHEMA = Schema(tuple(Feature(f"x{i}", nullable=i != 6) for i in range(7)))
ROWS = RowFormat(SCHEMA, entity_key([("id", "integer"), ("city", "string")]))
FEATURES = len(SCHEMA.features)


def key(number: int, city: str = "süd") -> bytes:
    return ROWS.key.encode({"id": number, "city": city})


def record(x: float, as_of_us: int | None = None, absent: tuple[int, ...] = ()) -> bytes:
    return ROWS.pack([math.nan if i in absent else x for i in range(FEATURES)], as_of_us, absent)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(params=["embedded", "shared"])
def store(request, tmp_path) -> FeatureStore:
    if request.param == "embedded":
        return LmdbStore(tmp_path / "rows", ROWS)
    # A separate model, because all tests share the server.
    return RedisStore(request.getfixturevalue("server").url, uuid4().hex, ROWS, timeout_s=10.0)


def run_story(store: FeatureStore, story):
    """Run a coroutine function on its own event loop, and close the store."""

    async def whole():
        try:
            return await story()
        finally:
            await store.close()

    return asyncio.run(whole())


def values(row) -> list[float] | None:
    return None if row is None else list(row.values)


@pytest.mark.parametrize("numbers", [[], [1], [1, 2], [2, 1, 1, 404]])
def test_rows_are_in_key_order_and_unknown_keys_are_none(store, numbers):
    async def story():
        await store.push([(key(n), record(float(n))) for n in (1, 2, 3)])
        return await store.fetch([key(n) for n in numbers])

    rows = run_story(store, story)
    assert [values(row) for row in rows] == [[float(n)] * FEATURES if n < 100 else None for n in numbers]


def test_a_row_is_read_with_all_that_was_stored(store):
    whole, partial = record(1.5, 1_700_000_000_000_000), record(0.5, None, (2, 5))

    async def story():
        await store.push([(key(1), whole), (key(2), partial)])
        return await store.fetch([key(1), key(2)])

    one, two = run_story(store, story)
    assert (one.record, one.as_of_us, one.absent) == (whole, 1_700_000_000_000_000, ())
    assert (two.record, two.as_of_us, two.absent) == (partial, None, (2, 5))


def test_a_push_replaces_rows_but_not_with_older_ones(store):
    async def story():
        await store.push([(key(1), record(1.0, 100)), (key(2), record(1.0, 100)), (key(3), record(1.0))])
        pushed = await store.push(
            [(key(1), record(2.0, 99)), (key(2), record(2.0, 100)), (key(3), record(2.0, 1)), (key(4), record(2.0))]
        )
        undated = await store.push([(key(1), record(3.0))])
        return pushed, undated, await store.fetch([key(n) for n in (1, 2, 3, 4)])

    pushed, undated, rows = run_story(store, story)
    assert (pushed.written, pushed.older) == (3, 1)
    assert (undated.written, undated.older) == (1, 0)
    assert [row.values[0] for row in rows] == [3.0, 2.0, 2.0, 2.0]


def test_last_of_two_rows_in_a_push_wins(store):
    async def story():
        await store.push([(key(1), record(1.0)), (key(1), record(2.0))])
        return await store.fetch([key(1)])

    assert run_story(store, story)[0].values[0] == 2.0


def test_push_is_atomic(store):
    """Each push writes its number into all of 50 rows; a reader must never meet two numbers at once."""

    async def read(seen: list[set[float]], done: asyncio.Event) -> None:
        while not done.is_set():
            rows = await store.fetch([key(n) for n in range(50)])
            seen.append({row.values[0] for row in rows})
            await asyncio.sleep(0)

    async def story():
        await store.push([(key(n), record(0.0)) for n in range(50)])
        seen: list[set[float]] = []
        done = asyncio.Event()
        reading = asyncio.create_task(read(seen, done))
        for number in range(1, 30):
            await store.push([(key(n), record(float(number))) for n in range(50)])
        done.set()
        await reading
        return seen

    seen = run_story(store, story)
    assert all(len(numbers) == 1 for numbers in seen)
    assert len({number for numbers in seen for number in numbers}) > 3


def test_keys_that_differ_only_in_where_a_field_ends_are_two(store):
    names = RowFormat(SCHEMA, entity_key([("a", "string"), ("b", "string")])).key
    pairs = [("x", "yz"), ("xy", "z"), ("", "xyz"), ("x\0", "yz"), ("x", "\0yz")]
    assert len({names.encode({"a": a, "b": b}) for a, b in pairs}) == len(pairs)


def test_stats_report_rows_bytes_and_format(store):
    async def story():
        await store.push([(key(n), record(1.0)) for n in range(7)])
        return await store.stats()

    stats = run_story(store, story)
    assert (stats.rows, stats.format_digest, stats.loaded_from) == (7, ROWS.digest, None)
    assert stats.size_bytes > 0


WRONG = {
    "no row": b"no row of this format",
    "nothing": b"",
    "cut short": record(1.0)[:-1],
    "of another schema": RowFormat(Schema(SCHEMA.features[::-1]), ROWS.key).pack([1.0] * FEATURES),
    "of another key": RowFormat(SCHEMA, entity_key([("id", "integer")])).pack([1.0] * FEATURES),
    "infinite": record(math.inf),
    "missing where it may not be": record(math.nan),
    "after year 9999": record(1.0, (1 << 63) - 1),
    "before year 1": record(1.0, -(1 << 63) + 1),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_an_invalid_row_is_refused_by_name_until_pushed_again(store, wrong):
    async def story():
        await store.push([(key(1), wrong), (key(2), record(1.0))])
        assert (await store.fetch([key(2)]))[0] is not None
        with pytest.raises(InvalidStoredRowError, match=r'"id":1.* is not a valid row: ') as refused:
            await store.fetch([key(2), key(1)])
        assert refused.value.details == {"key": {"city": "süd", "id": 1}}
        # Whatever as-of time an invalid row has, a valid row replaces it.
        assert (await store.push([(key(1), record(2.0, 5))])).written == 1
        return await store.fetch([key(1)])

    assert run_story(store, story)[0].values[0] == 2.0
