"""The eviction policy: SIEVE, bounded by bytes.

A new entry is added in front; a hit only marks its entry. To free memory, a hand moves from the oldest entry towards the
newest, clears the marks that it passes, evicts the first entry without a mark, and stays there. Thus a scan of keys that are
never requested again evicts those keys themselves. Zhang et al., SIEVE is Simpler than LRU (NSDI 2024); ADR 8.

Another policy is another `EvictionPolicy` with the same methods, in this file. What it knows of a hit is `Entry.was_hit`.
`find` of cache_partition.py sets it in place, because a call would take longer: a policy that needs something else of a hit
changes that line too.
"""

from __future__ import annotations

from collections.abc import Callable
from sys import getsizeof

ENTRY_BYTES = 240
"""Memory of an entry in addition to its two byte strings: the object, its slot in a dict, and the allocator's rounding."""
_MAX_SHARE = 8
"""An entry may take at most one part in this many of the budget."""


class Entry:
    """A cached response, its request body, and its partition."""

    __slots__ = ("answer", "body", "home", "newer", "older", "size_bytes", "still_holds", "was_hit")

    def __init__(
        self, body: bytes, answer: bytes, home: dict[bytes, Entry], still_holds: Callable[[], bool] | None
    ) -> None:
        self.body = body
        self.answer = answer
        self.home = home
        self.still_holds = still_holds
        """Returns whether the response is still valid; None for one without conditions."""
        self.was_hit = False
        """Whether it answered a request since the policy last cleared this mark."""
        self.size_bytes = getsizeof(body) + getsizeof(answer) + ENTRY_BYTES
        self.newer: Entry | None = None
        self.older: Entry | None = None


class EvictionPolicy:
    """The entries of all partitions in insertion order, within a budget of bytes."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.used_bytes = 0
        self._newest: Entry | None = None
        self._oldest: Entry | None = None
        self._hand: Entry | None = None

    def admit(self, entry: Entry) -> int:
        """Add an entry to its partition and return how many were evicted; an entry that is too large is not added."""
        size = entry.size_bytes
        if size * _MAX_SHARE > self.budget_bytes:
            return 0
        if entry.body in entry.home:
            self.drop(entry.home[entry.body])
        n_evicted = 0
        while self.used_bytes + size > self.budget_bytes and self._oldest is not None:
            self._evict()
            n_evicted += 1
        entry.older = self._newest
        if self._newest is None:
            self._oldest = entry
        else:
            self._newest.newer = entry
        self._newest = entry
        self.used_bytes += size
        entry.home[entry.body] = entry
        return n_evicted

    def drop(self, entry: Entry) -> None:
        """Remove an entry and release its bytes."""
        if self._hand is entry:
            self._hand = entry.newer
        if entry.newer is None:
            self._newest = entry.older
        else:
            entry.newer.older = entry.older
        if entry.older is None:
            self._oldest = entry.newer
        else:
            entry.older.newer = entry.newer
        # An evicted entry must not keep others alive.
        entry.newer = entry.older = None
        self.used_bytes -= entry.size_bytes
        del entry.home[entry.body]

    def _evict(self) -> None:
        hand = self._hand or self._oldest
        while hand is not None and hand.was_hit:
            hand.was_hit = False
            hand = hand.newer or self._oldest
        if hand is not None:
            self._hand = hand
            self.drop(hand)
