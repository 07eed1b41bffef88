"""An open-loop load by the demo's load generator that compares each answer with the version it names."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import uvloop

from mlrf.demo.load_connection import Response
from mlrf.demo.open_loop import OpenLoop
from raw_http import request

_BEAT_S = 0.02
_ANSWER_LIMIT_S = 20.0
_NO_END = 1 << 40


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
        self._port, self._rate, self._truth, self._connections = port, rate, truth, connections
        self._requests = [request("POST", "/predict", body) for body in bodies]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(2 * _ANSWER_LIMIT_S)

    async def _run(self) -> None:
        load = _Load("127.0.0.1", self._port, self._requests, self._rate, _NO_END, self._judge)
        try:
            await load.open(self._connections)
            running = asyncio.create_task(load.run(_NO_END))
            while not self._stopped.is_set():
                await asyncio.sleep(_BEAT_S)
            load.stop()
            done, _ = await asyncio.wait({running}, timeout=_ANSWER_LIMIT_S)
            self.totals.faults.update(load.errors)
            if not done:
                running.cancel()
                self.totals.faults["never answered"] += 1
        finally:
            load.close()

    def _judge(self, number: int, elapsed_s: float, response: Response) -> str | None:
        if response.status != 200:
            return f"status {response.status}"
        answer = json.loads(response.body)
        version, totals = answer["version"], self.totals
        totals.due_s.append(time.monotonic() - elapsed_s)
        totals.took_s.append(elapsed_s)
        totals.versions.append(version)
        if version not in self._truth or self._truth[version][number % len(self._requests)] != answer["prediction"]:
            return "another version's answer"
        return None


class _Load(OpenLoop):
    """Note that a connection ended. The server may close idle ones; a request without a response is `lost`."""

    def failed(self, due_at: float | None, fault: str) -> None:
        if due_at is not None:
            super().failed(due_at, f"lost ({fault})")
