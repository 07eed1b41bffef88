"""mlrf compared with a peer (FastAPI): one row by position and by name, batches, several classes; latency under load, and
memory.

The servers take turns (A B A B), each started anew for its turn, so that neither shares pages of the other and a
slow minute of the machine affects both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from contenders import MLRF, PEER, Contender, Running, serving
from figures import Bar, Figure, at_least, at_most, ratios
from plan import Plan
from wrk import Load, check_answers, drive

CONNECTIONS, BATCH_CONNECTIONS = 32, 8


class Kind(NamedTuple):
    """One kind of request. `bars` apply to requests per second of processor time, `ratio_bars` to their ratio to the peer's."""

    what: str
    model: str
    path: str
    bodies: str
    connections: int = CONNECTIONS
    bars: tuple[Bar, ...] = ()
    ratio_bars: tuple[Bar, ...] = ()
    engine_ratio_bars: tuple[Bar, ...] = ()
    """For mlrf with ONNX Runtime, the peer's own engine."""


KINDS = (
    Kind(
        "one row, positional",
        "regression",
        "/predict",
        "positional",
        bars=(at_least(45_000),),
        ratio_bars=(at_least(2.5), at_least(5)),
        engine_ratio_bars=(at_least(2.5),),
    ),
    Kind(
        "one row, named",
        "regression",
        "/predict",
        "named",
        bars=(at_least(35_000),),
        ratio_bars=(at_least(2.5), at_least(5)),
        engine_ratio_bars=(at_least(2.5),),
    ),
    Kind("batch of 100", "regression", "/predict/batch", "batch", BATCH_CONNECTIONS, ratio_bars=(at_least(4),)),
    Kind("one row, 4 classes", "multiclass", "/predict", "positional"),
    Kind("explained row", "regression", "/explain", "positional", bars=(at_least(2_000),)),
)


def measure(plan: Plan, contenders: Sequence[Contender]) -> Iterator[Figure]:
    """Yield the figures of every kind of request for every server."""
    loads: dict[tuple[Kind, str], list[Load]] = defaultdict(list)
    for number in range(plan.rounds):
        for contender in (*contenders, PEER):
            for model in dict.fromkeys(kind.model for kind in KINDS):
                plan.say(f"round {number + 1} of {plan.rounds}: {contender.name}, {model}")
                with serving(contender, plan.bundle(model)) as running:
                    check_answers(running, plan.home(model))
                    for kind in KINDS:
                        if kind.model == model and _answers(running, kind, plan.bodies(model, kind.bodies)):
                            loads[kind, contender.name].append(_load(running, kind, plan))
    for kind in KINDS:
        yield from _figures(
            kind, [c.name for c in contenders], {name: found for (k, name), found in loads.items() if k is kind}
        )


def _answers(running: Running, kind: Kind, bodies: Path) -> bool:
    """Whether the server has the route; the peer cannot explain."""
    status, _ = running.ask(kind.path, bodies.read_bytes().split(b"\n", 1)[0])
    return status == 200


def _load(running: Running, kind: Kind, plan: Plan) -> Load:
    bodies = plan.bodies(kind.model, kind.bodies)
    drive(running, kind.path, bodies, connections=kind.connections, seconds=1)
    return drive(running, kind.path, bodies, connections=kind.connections, seconds=plan.seconds)


def _figures(kind: Kind, names: Sequence[str], loads: dict[str, list[Load]]) -> Iterator[Figure]:
    for name, found in loads.items():
        bars = kind.bars if name == MLRF.name else ()
        details = {"loads": [vars(load) for load in found]}
        yield Figure(f"{kind.what}: {name}", [a.per_cpu_s for a in found], "req/cpu-s", bars, details)
    peer = loads.get(PEER.name)
    for name in names:
        found = loads.get(name)
        if not peer or not found:
            continue
        bars = kind.ratio_bars if name == MLRF.name else kind.engine_ratio_bars
        speed = ratios([a.per_cpu_s for a in found], [a.per_cpu_s for a in peer])
        yield Figure(f"{kind.what}: {name} / {PEER.name}", speed, "x", bars)
        if kind.path != "/predict":
            continue
        for measure_of, unit in (("p50_ms", "ms"), ("p99_ms", "ms"), ("pss_mb", "MB")):
            mine, other = ([getattr(load, measure_of) for load in side] for side in (found, peer))
            what = measure_of.partition("_")[0]
            below = (at_most(median(other)),) if what != "p50" else ()
            yield Figure(f"{kind.what}: {what} under load, {name}", mine, unit, below)
