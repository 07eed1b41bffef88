"""An open-loop load that compares each answer with the version it names, by the load generator of `mlrf.demo.load_generator`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from mlrf.demo.load_generator.background_load import BackgroundLoad
from mlrf.demo.load_generator.generator import IDLE_CONNECTION_LOST
from mlrf.demo.load_generator.http_connection import Response
from mlrf.demo.load_generator.load_plan import LoadPlan
from raw_http import request


@dataclass
class LoadTotals:
    """The results of the requests: when each was due, how long it took, which version answered."""

    due_s: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)

    def p99_ms(self, since_s: float = 0.0, until_s: float = float("inf")) -> float:
        """Return the 99th percentile of the requests that were due in an interval."""
        took = sorted(t for due, t in zip(self.due_s, self.took_s, strict=True) if since_s <= due < until_s)
        return took[len(took) * 99 // 100] * 1e3 if took else float("nan")


class SteadyLoad:
    """`rate` requests a second over `connections`, in a separate thread, until the context ends."""

    def __init__(
        self,
        port: int,
        rate: float,
        truth: Mapping[str, Sequence[float]],
        bodies: Sequence[object],
        *,
        connections: int = 32,
    ) -> None:
        """`truth`: the answers of each version to `bodies`, in their order."""
        self.totals = LoadTotals()
        self._truth, self._n_bodies = truth, len(bodies)
        requests = [request("POST", "/predict", body) for body in bodies]
        self._load = BackgroundLoad(LoadPlan("127.0.0.1", port, requests, connections, rate), self._judge)

    def __enter__(self) -> Self:
        self._load.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.totals.faults.update(self._load.end().errors)
        # The server may close idle connections; a request without a response is "connection lost".
        del self.totals.faults[IDLE_CONNECTION_LOST]

    def _judge(self, number: int, elapsed_s: float, response: Response) -> str | None:
        if response.status != 200:
            return f"status {response.status}"
        answer = json.loads(response.body)
        version, totals = answer["version"], self.totals
        totals.due_s.append(time.monotonic() - elapsed_s)
        totals.took_s.append(elapsed_s)
        totals.versions.append(version)
        if version not in self._truth or self._truth[version][number % self._n_bodies] != answer["prediction"]:
            return "another version's answer"
        return None
