"""An open loop of checked requests, by the load generator of `mlrf.demo.load_generator`: each request has its own check of the response."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import uvloop

from mlrf.demo.load_generator.drive import run_plan
from mlrf.demo.load_generator.http_connection import Response
from mlrf.demo.load_generator.load_plan import LoadPlan
from raw_http import request

Judge = Callable[[int, Any], str | None]
"""From a status and an answer to what is wrong with it."""
LIMIT_S = 60.0


@dataclass
class Outcome:
    """The results of a load. Latencies in seconds, from when a request was due."""

    latencies_s: list[float] = field(default_factory=list)
    in_server_s: dict[int, list[float]] = field(default_factory=dict)
    """By status, the time that the server reports: the client's own waiting is not in it."""
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def percentile_s(self, share: float) -> float:
        """The latency that this share of the answers did not exceed."""
        ordered = sorted(self.latencies_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def drive(
    port: int, make: Callable[[int], tuple[str, bytes, Judge]], *, rate: float, seconds: float, connections: int = 16
) -> Outcome:
    """Send `rate` requests a second over kept connections; `make` returns path, body and judge of the n-th."""
    outcome = Outcome()
    made = [make(number) for number in range(int(rate * seconds))]

    def judge(number: int, elapsed_s: float, response: Response) -> str | None:
        server_s = float(response.headers[b"server-timing"].partition(b"total;dur=")[2].partition(b",")[0]) / 1e3
        outcome.latencies_s.append(elapsed_s)
        outcome.in_server_s.setdefault(response.status, []).append(server_s)
        outcome.statuses[response.status] += 1
        return made[number][2](response.status, json.loads(response.body))

    requests = [request("POST", path, body) for path, body, _ in made]
    plan = LoadPlan("127.0.0.1", port, requests, connections, rate, len(requests))
    report = uvloop.run(run_plan(plan, seconds, judge=judge, drain_s=LIMIT_S))
    outcome.wrong += [what for what, n in report.errors.items() for _ in range(n)]
    return outcome
