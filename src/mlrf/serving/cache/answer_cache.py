"""The answer cache of a worker: a budget of memory that the cache partitions of all its models share.

An answer is stored with the conditions of its reuse; the partitions (cache_partition.py) look it up.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from mlrf.serving.cache.eviction import Entry, EvictionPolicy
from mlrf.serving.cache.keyed_answer import KeyedAnswer

if TYPE_CHECKING:
    from mlrf.serving.cache.redis_cache import RedisCache

_BYTES_A_MARK = 256
"""Bytes of budget per mark: about four marks for each answer that fits."""
_MARK_BYTES = 8


def _count_nothing(_n: int) -> None:
    pass


class CacheCounts(msgspec.Struct, frozen=True):
    """The counters of a worker's cache, and `set_bytes`, the gauge of the memory in use."""

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
        """Hashes of bodies seen once, each in the slot of its last bits, where the next one overwrites it."""
        self._marks_bytes = n_marks * _MARK_BYTES
        self._policy = EvictionPolicy(budget_bytes - self._marks_bytes)
        self._ttl_s = ttl_s
        self.counts = counts
        self.shared = shared
        self._account(0)

    def store(
        self,
        partition: dict[bytes, Entry],
        body: bytes,
        answer: bytes,
        transaction: Callable[[], int] | None,
        mark: Callable[[bytes], bytes],
    ) -> None:
        """Store an answer, as returned by `mark`, unless it depends on a store whose `transaction` is unknown."""
        if isinstance(answer, KeyedAnswer) and (transaction is None or answer.fresh_until_s <= time.time()):
            return
        entry = Entry(body, mark(answer), partition, self._condition(answer, transaction))
        self._account(self._policy.admit(entry))

    def drop(self, entry: Entry) -> None:
        """Remove a cached response."""
        self._policy.drop(entry)
        self._account(0)

    def _account(self, n_evicted: int) -> None:
        if n_evicted:
            self.counts.evictions(n_evicted)
        self.counts.set_bytes(self._policy.used_bytes + self._marks_bytes)

    def _condition(self, answer: bytes, transaction: Callable[[], int] | None) -> Callable[[], bool] | None:
        """Return the conditions of the answer's reuse; None for an answer without conditions."""
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
