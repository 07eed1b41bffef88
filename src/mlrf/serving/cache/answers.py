"""The answer cache of a worker: handlers that answer a body they have answered before without reading it.

Its key is the bundle's version, the route and the body: a shelf (a dict) for each version and route, by body. Python seeds the
hash of bytes anew in every server, so nobody outside can aim at one place of a shelf.

A body is kept when it comes for the second time. The first time leaves only its hash in a table of fixed size: of rows that
never come again, which most caches drown in, nothing is kept, and a fresh row pays one look-up and one mark for the cache
(measured: 0.5 µs). What took the worker's thread is kept at once, for it costs more than its place.
"""

from __future__ import annotations

import time
import weakref
from array import array
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from random import getrandbits

from mlrf.serving.cache.sieve import Entry, Sieve
from mlrf.serving.http.route import Awaited, Deferred, Handler, Result
from mlrf.serving.keyed import KeyedAnswer

MAX_BODY_BYTES = 64 << 10
"""Of a longer body the look-up alone is felt (a hash of 64 KiB takes 40 µs), and few fit."""
_BYTES_A_MARK = 256
"""One mark for so many bytes of budget: about four for each answer that finds room."""
_MARK_BYTES = 8
_SALT_BITS = 62
_FRESH, _CACHED = b'"cached":false', b'"cached":true'


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """Where a worker's cache counts: on, but for `set_bytes`, which tells the memory in use now."""

    hits: Callable[[int], None]
    misses: Callable[[int], None]
    evictions: Callable[[int], None]
    set_bytes: Callable[[int], None]


class AnswerCache:
    """The answers that a worker keeps, within `budget_bytes`, each for `ttl_s` seconds at most."""

    def __init__(self, budget_bytes: int, ttl_s: float | None, counts: CacheCounts) -> None:
        n_marks = 1 << max(0, (budget_bytes // _BYTES_A_MARK).bit_length() - 1)
        self.marks = array("q", bytes(n_marks * _MARK_BYTES))
        """Hashes of bodies seen once, each at the place of its last bits, where the next one overwrites it."""
        self._marks_bytes = n_marks * _MARK_BYTES
        self._sieve = Sieve(budget_bytes - self._marks_bytes)
        self._ttl_s = ttl_s
        self.counts = counts
        self._account(0)

    def shelves(self, transaction: Callable[[], int] | None = None) -> Shelves:
        """Return room for the answers of one version of a model, of all its routes.

        `transaction` tells where its feature store stands; without it no answer by key is kept.
        """
        return Shelves(self, transaction)

    def store(
        self, shelf: dict[bytes, Entry], body: bytes, answer: bytes, transaction: Callable[[], int] | None
    ) -> None:
        """Keep an answer, unless it depends on a store whose `transaction` nobody can tell."""
        if isinstance(answer, KeyedAnswer) and (transaction is None or answer.fresh_until_s <= time.time()):
            return
        entry = Entry(body, _as_cached(answer), shelf, self._condition(answer, transaction))
        self._account(self._sieve.admit(entry))

    def drop(self, entry: Entry) -> None:
        """Forget an answer."""
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


class Shelves:
    """The shelves of one version of a model, one a route; after `close` they hold nothing."""

    def __init__(self, cache: AnswerCache, transaction: Callable[[], int] | None) -> None:
        self._cache = cache
        self._transaction = transaction
        self._shelves: list[Shelf] = []

    def keep(self, make: Handler) -> Handler:
        """Return a handler that answers as `make` does, from a shelf of its own where it can."""
        return self.keep_both(make, make)[0]

    def keep_both(self, make: Handler, timed: Handler) -> tuple[Handler, Handler]:
        """Return handlers that answer as these two do, which answer alike, from one shelf where they can."""
        shelf = Shelf(self._cache, make, self._transaction)
        beside = shelf.made_by(timed)
        self._shelves += [shelf, beside]
        return shelf.answer, beside.answer

    def close(self) -> None:
        """Forget every answer, and keep none that is still being made."""
        for shelf in self._shelves:
            shelf.close()


class Shelf:
    """The answers of one route of one model, and the handler that makes those that are missing."""

    __slots__ = (
        "_cache",
        "_count_hits",
        "_count_misses",
        "_entries",
        "_flying",
        "_is_closed",
        "_last_bits",
        "_make",
        "_marks",
        "_salt",
        "_transaction",
    )

    def __init__(self, cache: AnswerCache, make: Handler, transaction: Callable[[], int] | None) -> None:
        self._cache = cache
        self._make = make
        self._transaction = transaction
        self._count_hits = cache.counts.hits
        self._count_misses = cache.counts.misses
        self._marks = cache.marks
        self._last_bits = len(cache.marks) - 1
        self._salt = getrandbits(_SALT_BITS)
        """Tells the marks of this shelf from others' of the same body."""
        self._entries: dict[bytes, Entry] = {}
        self._flying: dict[bytes, weakref.ref[Deferred]] = {}
        """Work under way, by body; gone with the last who waits for it, answered or not."""
        self._is_closed = False

    def made_by(self, make: Handler) -> Shelf:
        """Return the same shelf, with another handler for the answers that are missing."""
        other = copy(self)
        other._make = make
        return other

    def answer(self, body: bytes) -> Result:
        """Answer a body: the handler of the route."""
        if len(body) > MAX_BODY_BYTES:
            return self._make(body)
        entry = self._entries.get(body)
        if entry is not None and (entry.still_holds is None or entry.still_holds()):
            entry.visited = True
            self._count_hits(1)
            return entry.answer
        self._count_misses(1)
        if entry is None and body not in self._flying:
            mark = hash(body) ^ self._salt
            place = mark & self._last_bits
            if self._marks[place] != mark:
                self._marks[place] = mark
                made = self._make(body)
                return self._share(body, made) if type(made) is Deferred else made
        return self._answer_again(body, entry)

    def close(self) -> None:
        """Forget every answer, and keep none from now on."""
        self._is_closed = True
        for entry in tuple(self._entries.values()):
            self._cache.drop(entry)

    def _answer_again(self, body: bytes, outdated: Entry | None) -> Result:
        """Answer a body that came before and has no answer that still holds."""
        reference = self._flying.get(body)
        shared = reference() if reference is not None else None
        if shared is not None:
            return shared
        if outdated is not None:
            self._cache.drop(outdated)
        made = self._make(body)
        if isinstance(made, bytes):
            self._keep(body, made)
        return self._share(body, made) if isinstance(made, Deferred) else made

    def _share(self, body: bytes, work: Deferred) -> Deferred:
        """Let all who ask the same wait for one work, and keep what it makes."""
        if work.then is not None:
            return work
        made: list[bytes | Awaited] = []

        def run() -> bytes | Awaited:
            made.append(work.run())
            return made[0]

        def after() -> None:
            work.after()
            if made and isinstance(made[0], bytes):
                self._keep(body, made[0])

        sharing = Deferred(run, after)
        self._flying[body] = weakref.ref(sharing, lambda _: self._flying.pop(body, None))
        return sharing

    def _keep(self, body: bytes, answer: bytes) -> None:
        if not self._is_closed:
            self._cache.store(self._entries, body, answer, self._transaction)


def _as_cached(answer: bytes) -> bytes:
    # In a JSON string the quotes would be escaped, and what holds names of features comes later: the first is the member.
    return bytes(answer).replace(_FRESH, _CACHED, 1)
