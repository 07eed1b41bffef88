"""Row 5: three times the server's capacity, and closed-loop clients, with slow requests and with single rows.

The load shares the processors with the server, and uses more of them the more it sends: goodput is per processor time that it
left. Load and capacity are measured in turns, with the same probe beside both, because the speed of a shared machine drifts; the
goodput is the median of the turns' ratios, because a few seconds of it may be slow for another reason.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bundles import write_tree_bundle
from mlrf.core.feature import Feature
from mlrf.core.schema import Schema
from overload import Overload, closed_loop, open_loop, pipelined
from raw_http import request
from running import Server, cpu_s, serving
from scoreboard import Bar, Finding, Row, report_progress

SCHEMA = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(30)))
_ONE = request("POST", "/predict", {"features": [0.25] * 30})
_PROBE = Path(__file__).parents[1] / "health_probe.py"
_MAX_WAIT_S = 0.5
_DEADLINE_MS = 50
_FEW, _PATIENT = 8, 64
_ROUNDS = 8
_KEPT_BUSY_PER_S = 1_000_000
"""A rate of single rows that keeps as many in flight as the load allows."""
_IMPATIENT = ("--max-wait", "0.005")
"""A server that refuses 64 closed-loop clients as overload."""
_ENDLESS = ("--max-wait", "3600")
"""A server that refuses nothing."""


@dataclass(frozen=True)
class Scale:
    """The durations and the bars."""

    seconds: float
    capacity_s: float
    bodies: int
    goodput: float
    refused: float
    wait_x: float
    """How many times the allowed wait the slowest answers may take: 1, or more if the machine is busy."""
    health_ms: float
    again_s: float


_FULL = Scale(60.0, 20.0, 400, 0.95, 0, 1, 50, 1)
_PLANTED = Scale(15.0, 5.0, 400, 0.95, 0, 1, 50, 1)
_BRIEF = Scale(1.0, 0.5, 100, 0.2, 1e9, 20, 3000, 5)
"""The machine that runs the tests may be busy."""


@contextlib.contextmanager
def grown(workers: int, *options: str, broken_by: str = "") -> Iterator[Server]:
    """Serve a model of 400 trees without a cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_tree_bundle(Path(folder) / "b", schema=SCHEMA, n_trees=400, max_leaves=64)
        with serving(path, workers=workers, options=["--cache", "0", *options], broken_by=broken_by) as server:
            server.booted(workers)
            yield server


def batch(n: int, seed: int = 3, headers: Sequence[str] = ()) -> bytes:
    """Return a request to explain `n` rows. Equal requests share one computation, so a load uses different seeds."""
    rows = np.random.default_rng(seed).normal(size=(n, 30)).round(3).tolist()
    document = {"instances": [{"features": row} for row in rows], "explain": 2}
    return request("POST", "/predict/batch", document, headers)


class HealthProbe:
    """Requests /healthz all the time from a separate process, which does not wait for the load's interpreter."""

    def __init__(self, server: Server, *options: str) -> None:
        self._probe = subprocess.Popen(
            [sys.executable, _PROBE, str(server.port), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._probe.stdout is not None
        assert self._probe.stdout.readline() == "ready\n"

    def seconds(self) -> list[float]:
        """End the probe and return the durations of answers on new connections, in ascending order."""
        printed, _ = self._probe.communicate(timeout=60)
        assert self._probe.returncode == 0
        return sorted(json.loads(printed)["new"])

    def p99_ms(self) -> float:
        """End the probe and return the 99th percentile of answers on new connections."""
        waits = self.seconds()
        return waits[int(len(waits) * 0.99)] * 1e3


def _normal_again_s(server: Server, content: bytes) -> float:
    """Return the seconds until ten requests in a row are answered; 10 if it takes longer."""
    began = time.perf_counter()
    with server.client() as client:
        while (elapsed_s := time.perf_counter() - began) < 10:
            statuses = []
            for _ in range(10):
                client.send(content)
                statuses.append(client.answer().status)
            if statuses == [200] * 10:
                return time.perf_counter() - began
    return elapsed_s


def _patient(scale: Scale, options: Sequence[str]) -> list[Bar]:
    """Closed loop: 64 clients that each wait for their answer, with single rows and with work of a few milliseconds."""
    bars = []
    with grown(2, *options) as server:
        works = {"rows": [_ONE], "explained": [batch(15, seed) for seed in range(scale.bodies)]}
        for what, contents in works.items():
            health = HealthProbe(server)
            many, ratios = Overload(), []
            for _ in range(_ROUNDS):
                few = closed_loop(server.port, contents, _FEW, scale.capacity_s / _ROUNDS)
                turn = closed_loop(server.port, contents, _PATIENT, scale.capacity_s / _ROUNDS)
                ratios.append(turn.per_left_s() / few.per_left_s())
                many.add(turn)
            refused = sum(many.n(status) for status in many.by_status if status != 200)
            bars += [
                Bar(f"patient, {what}: refused", refused + many.n_lost, scale.refused),
                Bar("goodput of capacity", statistics.median(ratios), scale.goodput, at_least=True),
                Bar("/healthz p99 ms", health.p99_ms(), scale.health_ms),
            ]
    return bars


class _Pipelined:
    """The results of several loads of pipelined single rows."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.statuses: Counter[int] = Counter()
        self.n_lost = 0
        self.without_retry_after = 0
        self.left_s = 0.0
        """Processor seconds that the loads left to the server."""
        self.spent_s = 0.0
        """Processor seconds of the server's workers."""
        self._elapsed_s = 0.0

    def run(self, rate: float, seconds: float) -> None:
        """Send requests at a rate (per second), and add the results."""
        before_s = _workers_s(self._server)
        report, left_s = pipelined(self._server.port, _ONE, rate, seconds, 32)
        self.spent_s += _workers_s(self._server) - before_s
        self.statuses.update(report.statuses)
        self.n_lost += report.lost
        self.without_retry_after += report.without_retry_after
        self.left_s += left_s
        self._elapsed_s += report.elapsed_s

    def per_s(self) -> float:
        """Return the answers per second."""
        return self.statuses[200] / self._elapsed_s


def _batches(scale: Scale, options: Sequence[str]) -> list[Bar]:
    """Open loop at three times the capacity with slow requests; then with deadlines."""
    with grown(2, "--max-batch", "200", *options) as server:
        contents = [batch(200, seed) for seed in range(scale.bodies)]
        alone = closed_loop(server.port, contents, 1, min(scale.capacity_s, 2.0))
        health = HealthProbe(server)
        capacity, load, ratios = Overload(), Overload(), []
        for _ in range(_ROUNDS):
            before = closed_loop(server.port, contents, _FEW, scale.capacity_s / _ROUNDS)
            capacity.add(before)
            turn = open_loop(server.port, contents, 3 * capacity.per_s(), scale.seconds / _ROUNDS, 400)
            ratios.append(turn.per_left_s() / before.per_left_s())
            load.add(turn)
        health_ms = health.p99_ms()
        again_s = _normal_again_s(server, contents[0])
        limited = [batch(40, seed, [f"X-Request-Timeout-Ms: {_DEADLINE_MS}"]) for seed in range(scale.bodies)]
        hasty = open_loop(server.port, limited, 15 * capacity.per_s(), scale.capacity_s, 400)
    service_s = sum(alone.by_status[200]) / alone.n(200)
    others = sum(load.n(status) for status in load.by_status if status not in (200, 503))
    waits = sorted(wait for each in hasty.by_status.values() for wait in each)
    return [
        Bar("work ms", service_s * 1e3, 2, at_least=True),
        Bar("goodput of capacity", statistics.median(ratios), scale.goodput, at_least=True),
        Bar("accepted p99 s", load.p99_s(), scale.wait_x * (_MAX_WAIT_S + 2 * service_s)),
        Bar("lost or neither 200 nor 503", load.n_lost + others, 0),
        Bar("refused without Retry-After", load.without_retry_after, 0),
        Bar("/healthz p99 ms", health_ms, scale.health_ms),
        Bar("normal after s", again_s, scale.again_s),
        Bar("50 ms deadline: p99 ms", waits[int(len(waits) * 0.99)] * 1e3, scale.wait_x * _DEADLINE_MS),
    ]


def _rows(scale: Scale, options: Sequence[str]) -> list[Bar]:
    """More pipelined single rows than can be answered.

    A row costs hardly more than its refusal, so the goodput allows for twice what the refusals of two thirds cost.
    """
    with grown(2, *options) as server:
        health = HealthProbe(server)
        capacity, load = _Pipelined(server), _Pipelined(server)
        for _ in range(_ROUNDS):
            capacity.run(_KEPT_BUSY_PER_S, scale.capacity_s / _ROUNDS)
            load.run(3 * capacity.per_s(), scale.seconds / 2 / _ROUNDS)
        health_ms = health.p99_ms()
        again_s = _normal_again_s(server, _ONE)
    others = sum(n for status, n in load.statuses.items() if status not in (200, 503))
    goodput = load.statuses[200] / load.left_s / (capacity.statuses[200] / capacity.left_s)
    answer_s, n_refused = capacity.spent_s / capacity.statuses[200], load.statuses[503]
    refusal_s = max(0.0, load.spent_s - load.statuses[200] * answer_s) / n_refused if n_refused else 0.0
    costs = f"a refusal costs {refusal_s * 1e6:.1f} us, an answer {answer_s * 1e6:.1f}"
    return [
        Bar("rows: lost or neither 200 nor 503", load.n_lost + others, 0),
        Bar("refused without Retry-After", load.without_retry_after, 0),
        Bar(f"goodput of capacity ({costs})", goodput, scale.goodput - 2 * refusal_s / answer_s, at_least=True),
        Bar("/healthz p99 ms", health_ms, scale.health_ms),
        Bar("normal after s", again_s, scale.again_s),
    ]


def _workers_s(server: Server) -> float:
    """Return the processor seconds of a server's workers so far."""
    return sum(cpu_s(pid) for pid in server.workers())


def _reported(part: Callable[[Scale, Sequence[str]], list[Bar]], scale: Scale, options: Sequence[str]) -> list[Bar]:
    """Return the bars of a part, and print them when it has ended: all parts take minutes."""
    report_progress(f"row 5: {_first_line(part)}")
    began = time.monotonic()
    bars = part(scale, options)
    report_progress(f"row 5: {Finding.of(*bars).figure} | {time.monotonic() - began:.0f} s")
    return bars


def _first_line(part: Callable[..., object]) -> str:
    return (part.__doc__ or "").partition("\n")[0]


def _found(scale: Scale) -> Finding:
    return Finding.of(*(bar for part in (_patient, _batches, _rows) for bar in _reported(part, scale, ())))


def _planted(scale: Scale) -> Finding:
    """Return the result of both faults; it is within its bar, and so not caught, if either of them is."""
    impatient = Finding.of(*_reported(_patient, scale, _IMPATIENT))
    endless = Finding.of(*_reported(_batches, scale, _ENDLESS))
    return Finding(f"{impatient.figure}; {endless.figure}", impatient.holds or endless.holds)


def measure(planted: bool) -> Finding:
    """Send three times the capacity; with the fault, closed-loop clients are refused, or nothing is."""
    return _planted(_PLANTED) if planted else _found(_FULL)


def brief(planted: bool) -> Finding:
    """Run briefly, with a server that may be slow."""
    return _planted(_BRIEF) if planted else _found(_BRIEF)


ROW = Row(
    5,
    "3x capacity for 60 s, and 64 closed-loop clients",
    "closed loop: 0 refused, goodput >= 95 %; open loop: goodput >= 95 %, accepted p99 <= --max-wait and two services, "
    "50 ms deadlines kept; single rows: only 200 and 503, goodput >= 95 % less twice a refusal's share of an answer; all: Retry-After, /healthz on new connections p99 < 50 ms, normal again < 1 s",
    "closed-loop clients are refused; nothing is refused",
    measure,
    brief,
)
