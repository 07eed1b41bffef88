"""The answer cache of a worker: handlers that answer a repeated body without parsing it.

Its key is the bundle's version, the route and the body: a shelf (a dict) for each version and route, by body. Python seeds the
hash of bytes anew in every server, so nobody outside can aim at one place of a shelf. The data plane, which is told the same in
many ways, has a shelf where rows stand for the body (serving/oip/infer.py).

A body is kept when it comes for the second time. The first time leaves only its hash in a table of fixed size: of rows that
never come again, which most caches drown in, nothing is kept, and a fresh row pays one look-up and one mark for the cache
(measured: 0.5 µs). What took the worker's thread is kept at once, for it costs more than its place.
"""

from __future__ import annotations

import math
import time
import weakref
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import getrandbits
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from mlrf.serving.cache.keyed_answer import KeyedAnswer
from mlrf.serving.cache.sieve import Entry, Sieve
from mlrf.serving.runtime.results import Awaited, Deferred, Handler, Result

if TYPE_CHECKING:
    from mlrf.serving.cache.redis_cache import RedisCache

MAX_BODY_BYTES = 64 << 10
"""Of a longer body the look-up alone is felt (a hash of 64 KiB takes 12 µs), and few fit."""
_BYTES_A_MARK = 256
"""One mark for so many bytes of budget: about four for each answer that finds room."""
_MARK_BYTES = 8
_SMOOTHING = 0.1
_SALT_BITS = 62
_FRESH, _CACHED = b'"cached":false', b'"cached":true'


def _count_nothing(_n: int) -> None:
    pass


class AnswersOf(NamedTuple):
    """Whose answers: the bundle's version (64 hex digits), and a secret of 1 to 64 bytes of all that answers depend on."""

    version: str
    secret: bytes


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """Where a worker's cache counts: on, but for `set_bytes`, which tells the memory in use now."""

    hits: Callable[[int], None] = _count_nothing
    misses: Callable[[int], None] = _count_nothing
    evictions: Callable[[int], None] = _count_nothing
    set_bytes: Callable[[int], None] = _count_nothing


class AnswerCache:
    """The cached responses of a worker, within `budget_bytes`, each for at most `ttl_s` seconds."""

    def __init__(
        self, budget_bytes: int, ttl_s: float | None, counts: CacheCounts, shared: RedisCache | None = None
    ) -> None:
        n_marks = 1 << max(0, (budget_bytes // _BYTES_A_MARK).bit_length() - 1)
        self.marks = array("q", bytes(n_marks * _MARK_BYTES))
        """Hashes of bodies seen once, each at the place of its last bits, where the next one overwrites it."""
        self._marks_bytes = n_marks * _MARK_BYTES
        self._sieve = Sieve(budget_bytes - self._marks_bytes)
        self._ttl_s = ttl_s
        self.counts = counts
        self.shared = shared
        self._account(0)

    def partitions(
        self, of: AnswersOf, transaction: Callable[[], int] | None = None, counts: CacheCounts | None = None
    ) -> CachePartitions:
        """Return the cache partitions of one version of a model, one for each of its routes.

        `transaction` tells where its feature store stands; without it no answer by key is kept.
        """
        return CachePartitions(self, of, transaction, counts or self.counts)

    def store(
        self,
        partition: dict[bytes, Entry],
        body: bytes,
        answer: bytes,
        transaction: Callable[[], int] | None,
        mark: Callable[[bytes], bytes],
    ) -> None:
        """Keep what `mark` makes of an answer, unless it depends on a store whose `transaction` nobody can tell."""
        if isinstance(answer, KeyedAnswer) and (transaction is None or answer.fresh_until_s <= time.time()):
            return
        entry = Entry(body, mark(answer), partition, self._condition(answer, transaction))
        self._account(self._sieve.admit(entry))

    def drop(self, entry: Entry) -> None:
        """Remove a cached response."""
        self._sieve.drop(entry)
        self._account(0)

    def _account(self, n_evicted: int) -> None:
        if n_evicted:
            self.counts.evictions(n_evicted)
        self.counts.set_bytes(self._sieve.used_bytes + self._marks_bytes)

    def _condition(self, answer: bytes, transaction: Callable[[], int] | None) -> Callable[[], bool] | None:
        """Return what must hold whenever the answer is given again; None for an answer without conditions."""
        until_s = None if self._ttl_s is None else time.monotonic() + self._ttl_s
        if isinstance(answer, KeyedAnswer) and transaction is not None:
            made_at, fresh_until_s = answer.transaction, answer.fresh_until_s
            return lambda: (
                transaction() == made_at
                and time.time() < fresh_until_s
                and (until_s is None or time.monotonic() < until_s)
            )
        if until_s is None:
            return None
        return lambda: time.monotonic() < until_s


class _InFlight(NamedTuple):
    """Work in flight, with the feature-store transaction it depends on (None: none) and until when it is fresh."""

    work: weakref.ref[Deferred | Awaited]
    build_settings: tuple[int | None, float]


class CachePartitions:
    """The cache partitions of one version of a model, one a route; after `close` they are empty."""

    def __init__(
        self, cache: AnswerCache, of: AnswersOf, transaction: Callable[[], int] | None, counts: CacheCounts
    ) -> None:
        self._cache = cache
        self._counts = counts
        self._of = of
        self._transaction = transaction
        self._partitions: list[CachePartition] = []

    def keep(self, make: Handler, route: str) -> Handler:
        """Return a handler that caches the responses of `make` in a partition of its own, identified by `route`."""
        return partial(self.partition(route, as_cached).find, make)

    def partition(self, route: str, mark: Callable[[bytes], bytes] = bytes) -> CachePartition:
        """Return a partition; `mark` turns a response into the one returned for cache hits."""
        partition = CachePartition(self._cache, self._counts, self._transaction, self._of, route, mark)
        self._partitions.append(partition)
        return partition

    def close(self) -> None:
        """Forget every answer, and keep none that is still being made."""
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
        of: AnswersOf,
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
        """Separates the marks of this partition from those of others for the same body."""
        self._entries: dict[bytes, Entry] = {}
        self._shared = cache.shared
        self._of = of
        self._prefix = route.encode() + b" "
        self._run_s = math.inf
        """What an answer lately took in the worker's thread."""
        self._in_flight: dict[bytes, _InFlight] = {}
        """Work in flight, by body; removed with the last request that waits for it."""
        self._is_closed = False

    def find(self, make: Handler, body: bytes) -> Result:
        """Return the response to a body, from the cache or from `make`, which is the same for the whole partition."""
        if len(body) > MAX_BODY_BYTES:
            return make(body)
        entry = self._entries.get(body)
        if entry is not None and (entry.still_holds is None or entry.still_holds()):
            entry.visited = True
            self._count_hits(1)
            return entry.answer
        self._count_misses(1)
        if entry is None and body not in self._in_flight:
            mark = hash(body) ^ self._salt
            place = mark & self._last_bits
            if self._marks[place] != mark:
                self._marks[place] = mark
                made = make(body)
                return self._dear(body, made) if type(made) is Deferred else made
        return self._find_again(make, body, entry)

    def close(self) -> None:
        """Forget every answer, and keep none from now on."""
        self._is_closed = True
        for entry in tuple(self._entries.values()):
            self._cache.drop(entry)

    def _find_again(self, make: Handler, body: bytes, outdated: Entry | None) -> Result:
        """Return the response to a repeated body that has no valid entry."""
        in_flight = self._in_flight.get(body)
        shared = in_flight.work() if in_flight is not None and self._still_stands(in_flight.build_settings) else None
        if shared is not None:
            return shared
        if outdated is not None:
            self._cache.drop(outdated)
        made = make(body)
        if isinstance(made, bytes):
            self._keep(body, made)
        return self._dear(body, made) if isinstance(made, Deferred) else made

    def _dear(self, body: bytes, work: Deferred) -> Deferred | Awaited:
        """Share one piece of work among identical requests, and cache its result."""
        shared = self._shared
        if shared is None or not shared.pays(self._run_s):
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

    def _still_stands(self, build_settings: tuple[int | None, float]) -> bool:
        """Return whether stored rows read for an earlier request are still valid for this one."""
        transaction, fresh_until_s = build_settings
        if transaction is None:
            return True
        stands = self._transaction
        return stands is not None and stands() == transaction and time.time() < fresh_until_s

    def _keep(self, body: bytes, answer: bytes) -> None:
        if not self._is_closed:
            self._cache.store(self._entries, body, answer, self._transaction, self._mark)


def as_cached(answer: bytes) -> bytes:
    """Return a response marked as `"cached": true`."""
    # In a JSON string the quotes would be escaped, and what holds names of features comes later: the first is the member.
    return bytes(answer).replace(_FRESH, _CACHED, 1)
