"""Memory and start-up time of a server: memory of one worker and of each further one, and the cold start.

On a busy machine compare processor times: wall time says how busy it was.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from contenders import MLRF, PEER, BenchmarkError, Contender, started
from figures import Figure, at_most
from plan import Plan
from processes import live_cpu_seconds, pss_of, tree
from scaling import KIND, load_workers
from wrk import Load, same

WORKERS = 4
PEER_STARTS = 3
COLD_START_MS = 150
_LIMIT_S = 60.0
_PAUSE_S = 0.001


def measure_memory(plan: Plan) -> Iterator[Figure]:
    """Yield the proportional set size under load of arbiter and one worker, and of each further of four."""
    plan.say(f"memory of 1 and of {WORKERS} workers")
    one, several = load_workers(plan, 1, 64), load_workers(plan, WORKERS, 64)
    details = {"1": vars(one), str(WORKERS): vars(several)}
    yield Figure("memory: arbiter and 1 worker (PSS)", [one.pss_mb], "MB", (at_most(40),), details)
    yield Figure("memory: each further worker (PSS)", [_further(one, several, "pss_mb")], "MB", (at_most(8),))
    yield Figure("memory: arbiter and 1 worker, no files' pages", [one.pss_without_files_mb], "MB")
    yield Figure("memory: each further, no files' pages", [_further(one, several, "pss_without_files_mb")], "MB")


def _further(one: Load, several: Load, what: str) -> float:
    return (getattr(several, what) - getattr(one, what)) / (WORKERS - 1)


def measure_cold_start(plan: Plan) -> Iterator[Figure]:
    """Yield time, processor time and memory from exec to the first correct answer, of mlrf and of the peer, by turns."""
    found: dict[Contender, list[Start]] = {MLRF: [], PEER: []}
    for contender in found:
        _start(contender, plan)  # it compiles the files that an installation would have compiled
    for number in range(plan.starts):
        for contender, starts in found.items():
            if contender is MLRF or number < PEER_STARTS:
                plan.say(f"cold start {number + 1} of {plan.starts}: {contender.name}")
                starts.append(_start(contender, plan))
    for contender, starts in found.items():
        bars = (at_most(COLD_START_MS),) if contender is MLRF else ()
        yield Figure(f"cold start: {contender.name}", [each.wall_ms for each in starts], "ms", bars)
        yield Figure(f"cold start, processor time: {contender.name}", [each.cpu_ms for each in starts], "ms")
        yield Figure(f"memory after one answer (PSS): {contender.name}", [each.pss_mb for each in starts], "MB")
    by_process = zip(*(each.pss_by_process_mb for each in found[MLRF]), strict=False)
    for name, values in zip(("arbiter", "worker"), by_process, strict=False):
        yield Figure(f"memory after one answer (PSS): {MLRF.name}, {name}", values, "MB")


@dataclass(frozen=True)
class Start:
    """What a server had taken at its first answer."""

    wall_ms: float
    cpu_ms: float
    pss_by_process_mb: list[float]
    """Of each process, parents before children."""

    @property
    def pss_mb(self) -> float:
        """Of all processes."""
        return sum(self.pss_by_process_mb)


def _start(contender: Contender, plan: Plan) -> Start:
    body = plan.bodies("regression", KIND).read_bytes().split(b"\n", 1)[0]
    right = json.loads((plan.home("regression") / "expected.jsonl").read_text().split("\n", 1)[0])
    began = time.perf_counter()
    with started(contender, plan.bundle("regression"), workers=1) as running:
        while time.perf_counter() - began < _LIMIT_S:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, answer = running.ask("/predict", body)
                wall_ms = 1e3 * (time.perf_counter() - began)
                if status != 200 or not same(answer["prediction"], right):
                    raise BenchmarkError(f"{contender.name} answered {status} {answer}")
                cpu_ms = 1e3 * live_cpu_seconds(running.pid)
                return Start(wall_ms, cpu_ms, [pss_of(pid) / 1e6 for pid in tree(running.pid)])
            time.sleep(_PAUSE_S)
    raise BenchmarkError(f"{contender.name} did not answer within {_LIMIT_S:g} s")
