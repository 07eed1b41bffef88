"""Row 7: bulk scoring beside single rows: batches sent to the server, and `mlrf score` on the same machine at low priority."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bundles import write_tree_bundle
from overload import Overload, closed_loop, open_loop
from raw_http import request
from rows.row_05_overload import SCHEMA, batch
from running import Server, serving
from scoreboard import Bar, Finding, Row

_RATE = 300.0
_CONNECTIONS = 16
_BATCH_ROWS = 100
_ROUNDS = 4
_LOAD_STARTS_S = 1.0
"""The process of a load imports its modules for that long, which a client on another machine would not do here."""
_ON_THE_LOOP = """
from mlrf.serving.native import predict_handler
predict_handler.MAX_LOOP_S = 3600.0
"""


@dataclass(frozen=True)
class Scale:
    """The seconds of each load, the rows of a job, and how many times its p99 alone the p99 of single rows may be."""

    seconds: float
    job_rows: int
    times: float


_FULL = Scale(20.0, 1_000_000, 1.5)
_BRIEF = Scale(2.0, 50_000, 50.0)


@contextlib.contextmanager
def _batches(port: int, seconds: float) -> Iterator[None]:
    """A closed-loop client that sends batches with explanations, begun before and ended after what runs beside it."""
    contents = [batch(_BATCH_ROWS, seed) for seed in range(50)]
    load = threading.Thread(target=closed_loop, args=(port, contents, 1, seconds + 2 * _LOAD_STARTS_S))
    load.start()
    time.sleep(_LOAD_STARTS_S)
    yield
    load.join()


@contextlib.contextmanager
def _real_time() -> Iterator[bool]:
    """Start what follows with real-time priority, as docs/how-to/operate.md advises; False if this user may not."""
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield False
        return
    try:
        yield True
    finally:
        os.sched_setscheduler(0, policy, priority)


@contextlib.contextmanager
def _job(bundle: Path, rows: Path, out: Path) -> Iterator[None]:
    """`mlrf score`, again and again, at the lowest priority."""
    # `chrt --other` takes away a real-time priority that this process has.
    command = [
        "chrt",
        "--other",
        "0",
        "nice",
        "-n",
        "19",
        sys.executable,
        "-m",
        "mlrf",
        "score",
        bundle,
        rows,
        "-o",
        out,
        "--restart",
    ]
    is_over = threading.Event()

    def score() -> None:
        while not is_over.is_set():
            subprocess.run(command, check=True, capture_output=True)

    job = threading.Thread(target=score)
    job.start()
    yield
    is_over.set()
    job.join()


class _Measurement:
    """The p99 of single rows on a server of its own, alone and beside bulk scoring."""

    def __init__(self, home: Path, scale: Scale) -> None:
        self._home, self._scale = home, scale
        values = np.random.default_rng(5).normal(size=(scale.job_rows, len(SCHEMA.names))).round(3)
        self._singles = [request("POST", "/predict", {"features": row}) for row in values[:200].tolist()]
        self._bundle = write_tree_bundle(home / "b", schema=SCHEMA, n_trees=400, max_leaves=64)
        pq.write_table(pa.table(dict(zip(SCHEMA.names, values.T, strict=True))), home / "rows.parquet")

    def with_batches(self, broken_by: str = "") -> Bar:
        """Beside batches that the server itself answers; alone and beside them in turns, as the speed of a shared machine drifts."""
        alone, loaded, seconds = Overload(), Overload(), self._scale.seconds / _ROUNDS
        with self._server(broken_by) as server:
            for _ in range(_ROUNDS):
                alone.add(self._singles_for(seconds, server))
                with _batches(server.port, seconds):
                    loaded.add(self._singles_for(seconds, server))
        return self._bar("beside batches", loaded.p99_s() * 1e3, alone.p99_s() * 1e3)

    def alone_and_with_job(self) -> tuple[float, float]:
        """Beside `mlrf score`: the p99 alone, and beside it, in milliseconds."""
        with self._server() as server:
            alone_ms = self._p99_ms(server)
            with _job(self._bundle, self._home / "rows.parquet", self._home / "scored"):
                return alone_ms, self._p99_ms(server)

    def real_time_with_job(self) -> Bar:
        """The same with real-time priority of server and load."""
        with _real_time() as is_permitted:
            alone_ms, with_job_ms = self.alone_and_with_job()
        return self._bar(f"beside mlrf score, {'' if is_permitted else 'NOT '}real-time", with_job_ms, alone_ms)

    def _bar(self, name: str, with_job_ms: float, alone_ms: float) -> Bar:
        return Bar(f"p99 {name} / alone ({alone_ms:.2f} ms)", with_job_ms / alone_ms, self._scale.times)

    @contextlib.contextmanager
    def _server(self, broken_by: str = "") -> Iterator[Server]:
        with serving(self._bundle, workers=2, options=["--cache", "0"], broken_by=broken_by) as server:
            server.booted(2)
            yield server

    def _p99_ms(self, server: Server) -> float:
        return self._singles_for(self._scale.seconds, server).p99_s() * 1e3

    def _singles_for(self, seconds: float, server: Server) -> Overload:
        load = open_loop(server.port, self._singles, _RATE, seconds, _CONNECTIONS)
        assert load.n(200) == sum(map(load.n, load.by_status)), load.by_status.keys()
        return load


def _found(scale: Scale, broken_by: str = "") -> Finding:
    with tempfile.TemporaryDirectory() as folder:
        measurement = _Measurement(Path(folder), scale)
        if broken_by:  # which has no effect on the job
            return Finding.of(measurement.with_batches(broken_by))
        batches = measurement.with_batches()
        alone_ms, with_job_ms = measurement.alone_and_with_job()
        name = f"p99 beside mlrf score at usual priority {with_job_ms:.2f} ms, alone {alone_ms:.2f}; {batches.what}"
        return Finding.of(replace(batches, what=name), measurement.real_time_with_job())


def measure(planted: bool) -> Finding:
    """Send single rows alone, beside batches and beside a job; with the fault, batches run on the event loop."""
    return _found(_FULL, _ON_THE_LOOP if planted else "")


def brief(planted: bool) -> Finding:
    """Do the same briefly, on a machine that may be busy; a fault needs the bar of a quiet one."""
    return _found(Scale(3.0, 200, 1.5), _ON_THE_LOOP) if planted else _found(_BRIEF)


ROW = Row(
    7,
    "bulk scoring beside 300 single rows a second: batches of 100 explained rows from a client that waits for each; `nice -n 19 mlrf score`",
    "p99 of single rows <= 1.5x that without bulk scoring; beside `mlrf score` with real-time priority of the server",
    "batches run on the event loop",
    measure,
    brief,
)
