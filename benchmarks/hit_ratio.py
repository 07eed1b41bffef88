"""Hit ratio of the cache of answers, compared with plain LRU and the theoretical optimum (Belady).

A trace of a million requests for a million keys, the k-th as often as 1/k^1.1 (Zipf), with space for 10,000 answers: mlrf's
cache stays within the bytes of 10,000 of its entries, including the marks of bodies seen once."""

from __future__ import annotations

import heapq
import subprocess
import sys
from array import array
from bisect import bisect
from collections import OrderedDict
from collections.abc import Iterator
from itertools import accumulate
from random import Random

from figures import Figure
from plan import Plan

KEYS = REQUESTS = 1_000_000
CAPACITY = 10_000
EXPONENT = 1.1
SEED = 11
_BODY = b'{"features":[%d,%s]}'


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield the hit ratios, and the time of a look-up in mlrf's cache.

    In a separate process, to keep its memory out of the runner.
    """
    plan.say("hit ratios on a Zipf trace")
    printed = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True).stdout
    for line in printed.splitlines():
        name, share = line.rsplit(" ", 1)
        yield Figure(
            f"hit ratio, Zipf {EXPONENT}, {KEYS:,} keys, capacity {CAPACITY:,}: {name}", [100 * float(share)], "%"
        )


def trace() -> array[int]:
    """Return the requested keys, in order."""
    random = Random(SEED)
    weights = list(accumulate(1 / rank**EXPONENT for rank in range(1, KEYS + 1)))
    names = list(range(KEYS))
    random.shuffle(names)
    return array("l", (names[bisect(weights, random.random() * weights[-1])] for _ in range(REQUESTS)))


def mlrf_cache(keys: array[int]) -> float:
    """Use the cache itself, with bodies and answers as long as those of 27 features."""
    from mlrf.serving.cache.answer_cache import AnswerCache, CacheCounts  # noqa: PLC0415  the runner must not import it
    from mlrf.serving.cache.cache_namespace import CacheNamespace  # noqa: PLC0415
    from mlrf.serving.cache.cache_partition import CachePartitions  # noqa: PLC0415
    from mlrf.serving.cache.eviction import Entry  # noqa: PLC0415

    n_hits = 0

    def hit(n: int) -> None:
        nonlocal n_hits
        n_hits += n

    answer_bytes = b'{"prediction":%b,"model":"m","version":"v","cached":false}' % (b"1" * 18)
    rest = b",".join([b"1.25"] * 50)
    entry = Entry(_BODY % (KEYS, rest), answer_bytes, {}, None)
    counts = CacheCounts(hit, lambda _n: None, lambda _n: None, lambda _n: None)
    cache = AnswerCache(CAPACITY * entry.size_bytes, None, counts)
    answer = CachePartitions(cache, CacheNamespace("00", b"secret")).keep(lambda _body: answer_bytes, "/predict")
    for key in keys:
        answer(_BODY % (key, rest))
    return n_hits / len(keys)


def lru(keys: array[int]) -> float:
    """Evict the entry that was requested least recently."""
    kept: OrderedDict[int, None] = OrderedDict()
    n_hits = 0
    for key in keys:
        if key in kept:
            kept.move_to_end(key)
            n_hits += 1
            continue
        kept[key] = None
        if len(kept) > CAPACITY:
            kept.popitem(last=False)
    return n_hits / len(keys)


def belady(keys: array[int]) -> float:
    """Evict the entry whose next request is farthest away, which needs knowledge of the future."""
    following = array("l", bytes(8 * len(keys)))
    seen: dict[int, int] = {}
    for at in range(len(keys) - 1, -1, -1):
        following[at] = seen.get(keys[at], 2 * len(keys))
        seen[keys[at]] = at
    kept: dict[int, int] = {}
    latest: list[tuple[int, int]] = []
    n_hits = 0
    for at, key in enumerate(keys):
        n_hits += key in kept
        kept[key] = following[at]
        heapq.heappush(latest, (-following[at], key))
        while len(kept) > CAPACITY:
            until, name = heapq.heappop(latest)
            if kept.get(name) == -until:
                del kept[name]
    return n_hits / len(keys)


def main() -> None:
    """Print a name and a hit ratio on each line."""
    keys = trace()
    for name, policy in (("mlrf", mlrf_cache), ("plain LRU", lru), ("Belady, the bound", belady)):
        print(name, policy(keys), flush=True)


if __name__ == "__main__":
    main()
