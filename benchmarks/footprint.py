"""Memory and start-up time of a server: memory of one worker and of each further one, and the cold start."""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Iterator

from contenders import MLRF, PEER, BenchmarkError, Contender, started
from figures import Figure, at_most
from plan import Plan
from scaling import KIND, load_workers

from load import Load, same

WORKERS = 4
PEER_STARTS = 3
_LIMIT_S = 60.0
_PAUSE_S = 0.001


def measure_memory(plan: Plan) -> Iterator[Figure]:
    """Yield the proportional set size under load of arbiter and one worker, and of each further of four."""
    plan.say(f"memory of 1 and of {WORKERS} workers")
    one, several = load_workers(plan, 1, 64), load_workers(plan, WORKERS, 64)
    details = {"1": vars(one), str(WORKERS): vars(several)}
    yield Figure("memory: arbiter and 1 worker (PSS)", [one.pss_mb], "MB", (at_most(50),), details)
    yield Figure("memory: each further worker (PSS)", [_further(one, several, "pss_mb")], "MB", (at_most(15),))
    yield Figure("memory: arbiter and 1 worker, no files' pages", [one.pss_without_files_mb], "MB")
    yield Figure("memory: each further, no files' pages", [_further(one, several, "pss_without_files_mb")], "MB")


def _further(one: Load, several: Load, what: str) -> float:
    return (getattr(several, what) - getattr(one, what)) / (WORKERS - 1)


def measure_cold_start(plan: Plan) -> Iterator[Figure]:
    """Yield the time from exec to the first correct answer, of mlrf and of the peer."""
    for contender, starts, bars in ((MLRF, plan.starts, (at_most(300),)), (PEER, PEER_STARTS, ())):
        plan.say(f"cold start: {contender.name}, {starts} times")
        found = [_start_ms(contender, plan) for _ in range(starts)]
        yield Figure(f"cold start: {contender.name}", found, "ms", bars)


def _start_ms(contender: Contender, plan: Plan) -> float:
    body = plan.bodies("regression", KIND).read_bytes().split(b"\n", 1)[0]
    right = json.loads((plan.home("regression") / "expected.jsonl").read_text().split("\n", 1)[0])
    began = time.perf_counter()
    with started(contender, plan.bundle("regression"), workers=1) as running:
        while time.perf_counter() - began < _LIMIT_S:
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, answer = running.ask("/predict", body)
                took_s = time.perf_counter() - began
                if status != 200 or not same(answer["prediction"], right):
                    raise BenchmarkError(f"{contender.name} answered {status} {answer}")
                return took_s * 1e3
            time.sleep(_PAUSE_S)
    raise BenchmarkError(f"{contender.name} did not answer within {_LIMIT_S:g} s")
