"""Cache partitions: handlers that answer a repeated body without parsing it.

The key of an answer is the bundle's version, the route and the body; there is one partition (a dict by body) for each version
and route. Python seeds the hash of bytes differently in every server, so a client cannot cause collisions. The data plane,
where equal requests have many forms, has a partition keyed by rows instead of bodies (serving/oip/infer.py).

An answer is stored when its body arrives for the second time; the first time only marks its hash in a table of fixed size. Thus
nothing is stored for rows that never come again, which fill most caches, and a new row costs one look-up and one mark
(measured: 0.5 µs). An answer that needed the worker's thread is stored at once, because computing it costs more than its
memory.
"""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable
from functools import partial
from random import getrandbits
from time import perf_counter

import msgspec

from mlrf.serving.cache.answer_cache import AnswerCache, CacheCounts
from mlrf.serving.cache.cache_namespace import CacheNamespace
from mlrf.serving.cache.eviction import Entry
from mlrf.serving.cache.keyed_answer import features_of, with_features
from mlrf.serving.runtime.results import Awaited, Deferred, Handler, Result

MAX_BODY_BYTES = 64 << 10
"""Longer bodies are not looked up: that alone is expensive (a hash of 64 KiB takes 12 µs), and few would fit."""
_SMOOTHING = 0.1
_SALT_BITS = 62
_FRESH, _CACHED = b'"cached":false', b'"cached":true'


class _InFlight(msgspec.Struct, frozen=True):
    """Work in flight, the feature-store transaction that it depends on (or None), and when its rows become too old."""

    work: weakref.ref[Deferred | Awaited]
    conditions: tuple[int | None, float]


class CachePartitions:
    """The cache partitions of one version of a model, one for each of its routes; after `close` they are empty."""

    def __init__(
        self,
        cache: AnswerCache,
        of: CacheNamespace,
        transaction: Callable[[], int] | None = None,
        counts: CacheCounts | None = None,
    ) -> None:
        """`transaction` returns the last transaction of the model's feature store; without it no answer by key is stored."""
        self._cache = cache
        self._counts = counts or cache.counts
        self._of = of
        self._transaction = transaction
        self._partitions: list[CachePartition] = []

    def keep(self, make: Handler, route: str) -> Handler:
        """Return a handler that caches the responses of `make` in a separate partition, identified by `route`."""
        return partial(self.partition(route, as_cached).find, make)

    def partition(self, route: str, mark: Callable[[bytes], bytes] | None = None) -> CachePartition:
        """Return a partition; `mark` turns a response into the one returned for cache hits (default: it is the same)."""
        partition = CachePartition(self._cache, self._counts, self._transaction, self._of, route, mark or _as_stored)
        self._partitions.append(partition)
        return partition

    def close(self) -> None:
        """Drop every answer, and store none that is still being computed."""
        for partition in self._partitions:
            partition.close()


class CachePartition:
    """The cache partition of one route of one model."""

    __slots__ = (
        "_cache",
        "_count_hits",
        "_count_misses",
        "_entries",
        "_in_flight",
        "_is_closed",
        "_last_bits",
        "_mark",
        "_marks",
        "_of",
        "_prefix",
        "_run_s",
        "_salt",
        "_shared",
        "_transaction",
    )

    def __init__(
        self,
        cache: AnswerCache,
        counts: CacheCounts,
        transaction: Callable[[], int] | None,
        of: CacheNamespace,
        route: str,
        mark: Callable[[bytes], bytes],
    ) -> None:
        self._cache = cache
        self._mark = mark
        self._transaction = transaction
        self._count_hits = counts.hits
        self._count_misses = counts.misses
        self._marks = cache.marks
        self._last_bits = len(cache.marks) - 1
        self._salt = getrandbits(_SALT_BITS)
        """Distinguishes the marks of this partition from those of others for the same body."""
        self._entries: dict[bytes, Entry] = {}
        self._shared = cache.shared
        self._of = of
        self._prefix = route.encode() + b" "
        self._run_s = math.inf
        """Recent time in the worker's thread for an answer."""
        self._in_flight: dict[bytes, _InFlight] = {}
        """Work in flight, by body; removed with the last request that waits for it."""
        self._is_closed = False

    def find(self, make: Handler, body: bytes) -> Result:
        """Return the response to a body, from the cache or from `make`, which is the same for the whole partition."""
        if len(body) > MAX_BODY_BYTES:
            return make(body)
        entry = self._entries.get(body)
        if entry is not None and (entry.still_holds is None or entry.still_holds()):
            entry.was_hit = True
            self._count_hits(1)
            return entry.answer
        self._count_misses(1)
        if entry is None and body not in self._in_flight:
            mark = hash(body) ^ self._salt
            slot = mark & self._last_bits
            if self._marks[slot] != mark:
                self._marks[slot] = mark
                made = make(body)
                return self._expensive(body, made) if type(made) is Deferred else made
        return self._find_again(make, body, entry)

    def close(self) -> None:
        """Drop every answer, and store none from now on."""
        self._is_closed = True
        for entry in tuple(self._entries.values()):
            self._cache.drop(entry)

    def _find_again(self, make: Handler, body: bytes, outdated: Entry | None) -> Result:
        """Return the response to a repeated body that has no valid entry."""
        in_flight = self._in_flight.get(body)
        shared = in_flight.work() if in_flight is not None and self._is_still_valid(in_flight.conditions) else None
        if shared is not None:
            return shared
        if outdated is not None:
            self._cache.drop(outdated)
        made = make(body)
        if isinstance(made, bytes):
            self._keep(body, made)
        return self._expensive(body, made) if isinstance(made, Deferred) else made

    def _expensive(self, body: bytes, work: Deferred) -> Deferred | Awaited:
        """Share one piece of work among identical requests, and cache its result."""
        shared = self._shared
        if shared is None or not shared.is_worthwhile(self._run_s):
            return self._share(body, work)
        key = self._prefix + body

        async def look() -> bytes | Deferred:
            answer = await shared.get(self._of, key)
            if answer is None:
                return self._share(body, work, lambda made: shared.put(self._of, key, made))
            self._keep(body, answer)
            return self._mark(answer)

        looking = Awaited(look)
        self._compute(body, looking, work)
        return looking

    def _share(self, body: bytes, work: Deferred, publish: Callable[[bytes], None] | None = None) -> Deferred:
        made: list[bytes | Awaited] = []
        run_s = 0.0

        def run() -> bytes | Awaited:
            nonlocal run_s
            began = perf_counter()
            made.append(work.run())
            run_s = perf_counter() - began
            return made[0]

        def after() -> None:
            work.after()
            if not made:
                return
            self._run_s = run_s if self._run_s is math.inf else self._run_s + (run_s - self._run_s) * _SMOOTHING
            answer = made[0]
            if isinstance(answer, bytes):
                self._keep(body, answer)
                if publish is not None and type(answer) is bytes:
                    publish(answer)

        sharing = Deferred(run, after)
        self._compute(body, sharing, work)
        return sharing

    def _compute(self, body: bytes, work: Deferred | Awaited, made: Deferred) -> None:
        in_flight = self._in_flight

        def forget(reference: weakref.ref[Deferred | Awaited]) -> None:
            if (now := in_flight.get(body)) is not None and now.work is reference:
                del in_flight[body]

        in_flight[body] = _InFlight(weakref.ref(work, forget), (made.transaction, made.fresh_until_s))

    def _is_still_valid(self, conditions: tuple[int | None, float]) -> bool:
        """Return whether stored rows read for an earlier request are still valid for this one."""
        transaction, fresh_until_s = conditions
        if transaction is None:
            return True
        stands = self._transaction
        return stands is not None and stands() == transaction and time.time() < fresh_until_s

    def _keep(self, body: bytes, answer: bytes) -> None:
        if not self._is_closed:
            self._cache.store(self._entries, body, answer, self._transaction, self._mark)


def _as_stored(answer: bytes) -> bytes:
    """Return a response without its conditions, with the rows for the prediction log."""
    return with_features(bytes(answer), features_of(answer))


def as_cached(answer: bytes) -> bytes:
    """Return a response marked as `"cached": true`."""
    # Quotes in JSON strings are escaped, and members named by features come later, so the first match is the member.
    return with_features(bytes(answer).replace(_FRESH, _CACHED, 1), features_of(answer))
