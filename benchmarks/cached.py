"""Cached answers: the cost of a hit, and the cost of the cache for rows that are never repeated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from against_peer import CONNECTIONS
from contenders import MLRF, Contender, serving
from figures import Figure, at_least, ratios
from plan import Plan
from wrk import Load, drive

UNCACHED = Contender("mlrf, --cache 0", ("--cache", "0"))
ONE = "positional"


def measure(plan: Plan) -> Iterator[Figure]:
    """Yield requests per processor second of repeated requests, and of fresh ones with and without a cache."""
    loads: dict[tuple[str, bool], list[Load]] = defaultdict(list)
    bodies = plan.bodies("regression", ONE)
    for number in range(plan.rounds):
        for contender, repeated in ((MLRF, True), (MLRF, False), (UNCACHED, False)):
            plan.say(f"round {number + 1} of {plan.rounds}: {contender.name}, {'repeated' if repeated else 'fresh'}")
            with serving(contender, plan.bundle("regression")) as running:
                for seconds in (1, plan.seconds):
                    found = drive(
                        running, "/predict", bodies, connections=CONNECTIONS, seconds=seconds, repeated=repeated
                    )
                loads[contender.name, repeated].append(found)
    for (name, repeated), found in loads.items():
        what = f"one row, {'repeated' if repeated else 'fresh'}: {name}"
        bars = (at_least(90_000),) if repeated else ()
        yield Figure(what, [a.per_cpu_s for a in found], "req/cpu-s", bars, {"loads": [vars(a) for a in found]})
    kept = ratios(*([a.per_cpu_s for a in loads[name, False]] for name in (MLRF.name, UNCACHED.name)))
    yield Figure("one row, fresh: with the cache / without", kept, "x", (at_least(0.95),))
