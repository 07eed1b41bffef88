"""The cost of more workers and more connections: processor time per request, and how evenly connections spread."""

from __future__ import annotations

from collections.abc import Iterator

import steady_rate
from contenders import MLRF, serving
from figures import Figure, at_least, at_most, ratios
from plan import Plan
from wrk import Load, drive

SPREAD_CONNECTIONS = 64
FEW, MANY = 32, 2_000
LONGER = 2
"""How much longer the loads of many connections last, because opening them is work that is not to be measured."""
KIND = "positional"
STEADY_RATE = 4_000


def measure_workers(plan: Plan) -> Iterator[Figure]:
    """Yield the cost of a second worker per request, and how 64 connections spread over the two."""
    loads: dict[int, list[Load]] = {1: [], 2: []}
    for number in range(plan.rounds):
        for workers, found in loads.items():
            plan.say(f"round {number + 1} of {plan.rounds}: {workers} workers")
            found.append(load_workers(plan, workers, SPREAD_CONNECTIONS))
    kept = ratios([a.per_cpu_s for a in loads[2]], [a.per_cpu_s for a in loads[1]])
    details = {str(workers): [vars(load) for load in found] for workers, found in loads.items()}
    yield Figure("2 workers / 1 worker, per processor second", kept, "x", (at_least(0.9),), details)
    shares = [100 * min(a.connections_by_worker) / sum(a.connections_by_worker) for a in loads[2]]
    yield Figure("64 connections: share of the emptier of 2 workers", shares, "%", (at_least(30),))


def measure_connections(plan: Plan) -> Iterator[Figure]:
    """Yield the cost per request of 2,000 busy keep-alive connections, compared with 32."""
    loads: dict[int, list[Load]] = {FEW: [], MANY: []}
    for number in range(plan.rounds):
        plan.say(f"round {number + 1} of {plan.rounds}: {FEW} and {MANY} connections")
        for connections, found in loads.items():
            found.append(load_workers(plan, 1, connections, LONGER * plan.seconds))
    cost = ratios([a.per_cpu_s for a in loads[FEW]], [a.per_cpu_s for a in loads[MANY]])
    details = {str(count): [vars(load) for load in found] for count, found in loads.items()}
    yield Figure("2,000 connections / 32, all busy, processor time a request", cost, "x", (at_most(1.15),), details)
    steady: dict[int, list[float]] = {FEW: [], MANY: []}
    for number in range(plan.rounds):
        for connections, found in steady.items():
            plan.say(
                f"round {number + 1} of {plan.rounds}: {STEADY_RATE} requests a second over {connections} connections"
            )
            with serving(MLRF, plan.bundle("regression"), workers=1) as running:
                found.append(steady_rate.cost_us(running, plan.bodies("regression", KIND), STEADY_RATE, connections))
    name = f"2,000 connections / 32 at {STEADY_RATE:,} requests a second"
    yield Figure(name, ratios(steady[MANY], steady[FEW]), "x", (at_most(1.15),), {str(k): v for k, v in steady.items()})


def load_workers(plan: Plan, workers: int, connections: int, seconds: int | None = None) -> Load:
    """Load mlrf with a number of workers over a number of connections."""
    bodies = plan.bodies("regression", KIND)
    with serving(MLRF, plan.bundle("regression"), workers=workers) as running:
        drive(running, "/predict", bodies, connections=connections, seconds=1)
        return drive(running, "/predict", bodies, connections=connections, seconds=seconds or plan.seconds)
