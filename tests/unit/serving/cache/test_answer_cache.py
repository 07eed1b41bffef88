"""What a worker's answer cache stores and evicts, and its count of bytes."""

from __future__ import annotations

import gc
import time
import tracemalloc
from types import SimpleNamespace

import pytest

from mlrf.core.errors import InvalidFeatureError
from mlrf.serving.cache import answer_cache, cache_partition
from mlrf.serving.cache.answer_cache import AnswerCache, CacheCounts
from mlrf.serving.cache.cache_namespace import CacheNamespace
from mlrf.serving.cache.cache_partition import MAX_BODY_BYTES, CachePartitions
from mlrf.serving.cache.eviction import Entry, EvictionPolicy
from mlrf.serving.cache.keyed_answer import KeyedAnswer
from mlrf.serving.runtime.results import Awaited, Deferred

HITS, MISSES, EVICTIONS, BYTES = range(4)
OF = CacheNamespace("00", b"secret")
END = b',"model":"m","version":"1","cached":'


class Maker:
    """A handler that counts its calls."""

    def __init__(self) -> None:
        self.n_calls = 0

    def __call__(self, body: bytes) -> bytes:
        self.n_calls += 1
        return b'{"prediction":%d%bfalse}' % (len(body), END)


@pytest.fixture
def counts():
    return [0, 0, 0, 0]


def cache_of(counts, budget_bytes=1 << 20, ttl_s=None):
    def counting(index):
        def count(n):
            counts[index] += n

        return count

    def set_bytes(n):
        counts[BYTES] = n

    return AnswerCache(budget_bytes, ttl_s, CacheCounts(*map(counting, (HITS, MISSES, EVICTIONS)), set_bytes))


def test_the_third_time_is_answered_from_memory_and_says_so(counts):
    make = Maker()
    answer = CachePartitions(cache_of(counts), OF).keep(make, "/predict")
    first, second, third = (answer(b"[1]") for _ in range(3))
    assert first == second == b'{"prediction":3' + END + b"false}"
    assert third == b'{"prediction":3' + END + b"true}"
    assert make.n_calls == 2
    assert counts[:3] == [1, 2, 0]


def test_only_the_member_says_that_it_is_cached(counts):
    made = b'{"prediction":1,"model":"\\"cached\\":false","cached":false,"contributions":{"cached":false}}'
    answer = CachePartitions(cache_of(counts), OF).keep(lambda _body: made, "/predict")
    assert [answer(b"x") for _ in range(3)][-1] == made.replace(b'"cached":false', b'"cached":true', 1)


def test_routes_and_versions_share_no_answer(counts):
    cache = cache_of(counts)
    partitions = CachePartitions(cache, OF)
    handlers = [partitions.keep(lambda _body, n=n: b"%d" % n, "/predict") for n in range(3)]
    handlers.append(CachePartitions(cache, OF).keep(lambda _body: b"3", "/predict"))
    for _ in range(4):
        assert [handler(b"x") for handler in handlers] == [b"0", b"1", b"2", b"3"]
    assert counts[HITS] > 0


def test_unloaded_version_frees_its_cache_and_stores_nothing(counts):
    cache = cache_of(counts)
    empty = counts[BYTES]
    old, new = CachePartitions(cache, OF), CachePartitions(cache, OF)
    make = Maker()
    handler, other = old.keep(make, "/predict"), new.keep(Maker(), "/predict")
    for _ in range(2):
        handler(b"x")
        other(b"y")
    under_way = old.keep(lambda _body: Deferred(lambda: b"late"), "/predict")(b"z")
    one_entry = (counts[BYTES] - empty) / 2
    old.close()
    assert counts[BYTES] == empty + one_entry
    under_way.run()
    under_way.after()
    for _ in range(3):
        handler(b"x")
    assert counts[BYTES] == empty + one_entry
    assert make.n_calls == 5
    new.close()
    assert counts[BYTES] == empty


def test_refusals_and_what_waits_for_others_are_not_kept(counts):
    def refuse(_body):
        raise InvalidFeatureError("no")

    partitions = CachePartitions(cache_of(counts), OF)
    refusing, waiting = partitions.keep(refuse, "/predict"), partitions.keep(lambda _body: Awaited(None), "/predict")
    before = counts[BYTES]
    for _ in range(3):
        with pytest.raises(InvalidFeatureError):
            refusing(b"x")
        assert isinstance(waiting(b"x"), Awaited)
    assert counts[BYTES] == before


def test_long_bodies_are_neither_looked_up_nor_kept(counts):
    make = Maker()
    answer = CachePartitions(cache_of(counts, 64 << 20), OF).keep(make, "/predict")
    for length, calls in ((MAX_BODY_BYTES, 2), (MAX_BODY_BYTES + 1, 4)):
        make.n_calls = 0
        for _ in range(4):
            answer(b" " * length)
        assert make.n_calls == calls


@pytest.fixture
def pass_time(monkeypatch):
    """Set the cache's clocks forward."""
    passed_s = 0.0
    monotonic, wall = time.monotonic, time.time
    clocks = SimpleNamespace(monotonic=lambda: monotonic() + passed_s, time=lambda: wall() + passed_s)
    for module in (answer_cache, cache_partition):
        monkeypatch.setattr(module, "time", clocks)

    def set_forward(seconds):
        nonlocal passed_s
        passed_s += seconds

    return set_forward


def test_a_time_to_live_ends_an_answer(counts, pass_time):
    make = Maker()
    answer = CachePartitions(cache_of(counts, ttl_s=60.0), OF).keep(make, "/predict")
    for _ in range(3):
        answer(b"x")
    assert make.n_calls == 2
    used = counts[BYTES]
    pass_time(61)
    answer(b"x")
    answer(b"x")
    assert make.n_calls == 3, "made anew once, and kept anew"
    assert (counts[HITS], counts[BYTES]) == (2, used)


def test_answer_by_key_is_valid_for_one_store_state_and_age(counts, pass_time):
    stands, until_s, calls = [1], [time.time() + 60], []

    def make(_body):
        calls.append(None)
        return KeyedAnswer(b'{"prediction":%d,"cached":false}' % stands[0], stands[0], until_s[0])

    answer = CachePartitions(cache_of(counts), OF, lambda: stands[0]).keep(make, "/predict")
    assert [answer(b"k") for _ in range(3)][-1] == b'{"prediction":1,"cached":true}'
    assert len(calls) == 2
    stands[0] = 2
    assert answer(b"k") == b'{"prediction":2,"cached":false}'
    assert answer(b"k") == b'{"prediction":2,"cached":true}'
    until_s[0] = time.time() + 600
    stands[0] = 3
    answer(b"k")
    assert answer(b"k") == b'{"prediction":3,"cached":true}'
    pass_time(601)
    assert answer(b"k") == b'{"prediction":3,"cached":false}'


def test_stale_work_by_key_in_flight_is_not_shared(counts, pass_time):
    stands, until_s = [1], [time.time() + 60]

    def make(_body):
        return Deferred(lambda: b'{"cached":false}', transaction=stands[0], fresh_until_s=until_s[0])

    answer = CachePartitions(cache_of(counts), OF, lambda: stands[0]).keep(make, "/predict/batch")
    before = answer(b"k")
    assert answer(b"k") is before
    stands[0] = 2
    after = answer(b"k")
    assert after is not before
    assert answer(b"k") is after
    del before
    assert answer(b"k") is after, "who waited for the first leaves the second to be shared"
    stands[0], until_s[0] = 3, time.time() + 600
    short = answer(b"k")
    pass_time(601)
    assert answer(b"k") is not short


def test_answer_by_key_is_not_cached_without_store_transaction(counts):
    answer = CachePartitions(cache_of(counts), OF).keep(lambda _body: KeyedAnswer(b'{"cached":false}', 1), "/predict")
    assert {answer(b"k") for _ in range(4)} == {b'{"cached":false}'}


def test_long_work_in_flight_is_shared_and_cached_at_once(counts):
    made, after = [], []

    def make(_body):
        def run():
            made.append(None)
            return b'{"cached":false}'

        return Deferred(run, lambda: after.append(None))

    answer = CachePartitions(cache_of(counts), OF).keep(make, "/predict")
    first, second, other = answer(b"x"), answer(b"x"), answer(b"y")
    assert first is second is not other
    assert first.run() == b'{"cached":false}'
    first.after()
    assert (len(made), len(after)) == (1, 1)
    assert answer(b"x") == b'{"cached":true}'
    # Cancelled or failed work answers no request, and leaves nothing behind.
    other.after()
    del first, second, other
    assert isinstance(answer(b"y"), Deferred)


def test_work_that_failed_is_done_again(counts):
    def fail():
        raise InvalidFeatureError("no")

    answer = CachePartitions(cache_of(counts), OF).keep(lambda _body: Deferred(fail), "/predict")
    work = answer(b"x")
    with pytest.raises(InvalidFeatureError):
        work.run()
    work.after()
    del work
    assert isinstance(answer(b"x"), Deferred)


def test_rows_that_never_come_again_push_nothing_out(counts):
    make = Maker()
    answer = CachePartitions(cache_of(counts, 256 << 10), OF).keep(make, "/predict")
    hot = [b"hot %03d" % n for n in range(200)]
    for body in hot:
        answer(body)
        answer(body)
    make.n_calls = 0
    for number in range(50_000):
        answer(b"cold %06d" % number)
    assert make.n_calls == 50_000
    for body in hot:
        answer(body)
    assert make.n_calls == 50_000
    assert counts[EVICTIONS] == 0


def test_cache_stays_within_budget_and_counts_evictions(counts):
    budget = 128 << 10
    answer = CachePartitions(cache_of(counts, budget), OF).keep(lambda body: body, "/predict")
    for number in range(3_000):
        for _ in range(3):
            answer(b"%d" % number + b"." * (number * 37 % 2000))
            assert counts[BYTES] <= budget
    assert counts[BYTES] > budget * 0.9
    assert counts[EVICTIONS] > 2_000
    assert counts[MISSES] + counts[HITS] == 9_000


def test_the_account_of_bytes_is_what_the_interpreter_took(counts):
    cache = cache_of(counts, 4 << 20)
    answer = CachePartitions(cache, OF).keep(lambda body: bytes(len(body) // 2), "/predict")
    gc.collect()
    tracemalloc.start()
    began = tracemalloc.get_traced_memory()[0]
    n_bytes = counts[BYTES]
    for number in range(6_000):
        for _ in range(2):
            answer(b"%06d" % number * 40)
    assert counts[EVICTIONS] == 0
    taken = tracemalloc.get_traced_memory()[0] - began
    tracemalloc.stop()
    accounted = counts[BYTES] - n_bytes
    assert 0.85 <= taken / accounted <= 1.0, (taken, accounted)


def test_reused_entries_outlive_unused_ones():
    partition: dict[bytes, Entry] = {}
    entries = [Entry(b"%02d" % n, b"", partition, None) for n in range(16)]
    policy = EvictionPolicy(16 * entries[0].size_bytes)
    for entry in entries:
        policy.admit(entry)
    for kept in (0, 3, 7):
        entries[kept].was_hit = True
    for n in range(16, 29):
        assert policy.admit(Entry(b"%02d" % n, b"", partition, None)) == 1
    assert {b"00", b"03", b"07"} <= set(partition)
    assert len(partition) == 16
    assert policy.used_bytes == sum(entry.size_bytes for entry in partition.values())


def test_an_entry_over_its_share_of_the_budget_stays_out():
    partition: dict[bytes, Entry] = {}
    policy = EvictionPolicy(8_000)
    assert policy.admit(Entry(b"x", bytes(1_000), partition, None)) == 0
    assert (partition, policy.used_bytes) == ({}, 0)
