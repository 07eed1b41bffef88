"""Loads beyond a server's capacity, by the load generator of `mlrf.demo.load_generator`, each in a separate process.

The load shares the processors with the server, so results are also given per processor time that it left.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import uvloop

from mlrf.demo.load_generator.drive import run_plan
from mlrf.demo.load_generator.generator import IDLE_CONNECTION_LOST
from mlrf.demo.load_generator.http_connection import Response
from mlrf.demo.load_generator.load_plan import LoadPlan
from mlrf.demo.load_generator.pipelined import PipelinedReport, drive_pipelined

_HOST = "127.0.0.1"
_DRAIN_S = 15.0
_REFUSED_PAUSE_S = 0.02
"""A client of a closed loop that was refused tries again a little later."""


@dataclass
class Overload:
    """The answers: latencies in seconds by status, counted from when each request was due."""

    by_status: dict[int, list[float]] = field(default_factory=dict)
    n_lost: int = 0
    """Requests without an answer."""
    without_retry_after: int = 0
    seconds: float = 0.0
    left_s: float = 0.0
    """Processor time that the load left to the server."""

    def judge(self, _number: int, elapsed_s: float, response: Response) -> None:
        """Count a response."""
        self.by_status.setdefault(response.status, []).append(elapsed_s)
        self.without_retry_after += response.status == 503 and b"retry-after" not in response.headers

    def add(self, other: Overload) -> None:
        """Add the answers of another load of the same kind."""
        for status, elapsed_s in other.by_status.items():
            self.by_status.setdefault(status, []).extend(elapsed_s)
        self.n_lost += other.n_lost
        self.without_retry_after += other.without_retry_after
        self.seconds += other.seconds
        self.left_s += other.left_s

    def n(self, status: int) -> int:
        """Return the number of answers of a status."""
        return len(self.by_status.get(status, ()))

    def p99_s(self, status: int = 200) -> float:
        """Return the 99th percentile of the latencies of a status."""
        waits = sorted(self.by_status[status])
        return waits[int(len(waits) * 0.99)]

    def per_s(self, status: int = 200) -> float:
        """Return the answers of a status per second."""
        return self.n(status) / self.seconds

    def per_left_s(self, status: int = 200) -> float:
        """Return the answers of a status per second of processor time that the load left."""
        return self.n(status) / self.left_s


def closed_loop(port: int, contents: Sequence[bytes], n_connections: int, seconds: float) -> Overload:
    """Send the next of `contents` on each connection as soon as the previous one is answered."""
    plan = LoadPlan(_HOST, port, contents, n_connections, refused_pause_s=_REFUSED_PAUSE_S)
    return _apart(_planned, plan, seconds)


def open_loop(port: int, contents: Sequence[bytes], rate: float, seconds: float, n_connections: int) -> Overload:
    """Send requests at a rate (per second), each on a connection with no request in flight."""
    plan = LoadPlan(_HOST, port, contents, n_connections, rate, due=max(1, int(rate * seconds)))
    return _apart(_planned, plan, seconds)


def pipelined(
    port: int, content: bytes, rate: float, seconds: float, n_connections: int
) -> tuple[PipelinedReport, float]:
    """Send requests at a rate without waiting for answers; return the counts and the processor time that the load left."""
    return _apart(_pipelined, port, content, rate, seconds, n_connections)


async def _planned(plan: LoadPlan, seconds: float) -> Overload:
    overload, left_s = Overload(), _left_s()
    report = await run_plan(plan, seconds, judge=overload.judge, drain_s=_DRAIN_S)
    overload.n_lost = report.error_count - report.errors.get(IDLE_CONNECTION_LOST, 0)
    overload.seconds = report.elapsed_s
    overload.left_s = left_s(report.elapsed_s)
    return overload


async def _pipelined(port: int, content: bytes, rate: float, seconds: float, n: int) -> tuple[PipelinedReport, float]:
    left_s = _left_s()
    report = await drive_pipelined(_HOST, port, content, rate=rate, duration_s=seconds, connections=n)
    return report, left_s(report.elapsed_s)


def _left_s() -> Callable[[float], float]:
    """Return what tells how much processor time this process has left to others, scaled to some seconds of its load."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()

    def left_s(seconds: float) -> float:
        elapsed_s, spent_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        return seconds * (len(os.sched_getaffinity(0)) - spent_s / elapsed_s)

    return left_s


def _apart(load: Callable[..., Coroutine[Any, Any, Any]], *arguments: object) -> Any:
    """Run a load in a separate process, so that other measurements of this one do not wait for it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as apart:
        return apart.submit(_run, load, *arguments).result()


def _run(load: Callable[..., Coroutine[Any, Any, Any]], *arguments: object) -> Any:
    return uvloop.run(load(*arguments))
