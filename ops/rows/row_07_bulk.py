"""Row 7: bulk scoring beside single rows: batches sent to the server, and `mlrf score` on the same machine at low priority."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bundles import write_tree_bundle
from overload import closed_loop, open_loop
from raw_http import request
from rows.row_05_overload import SCHEMA, batch
from running import serving
from scoreboard import Bar, Finding, Row

_RATE = 300.0
_CONNECTIONS = 16
_BATCH_ROWS = 100
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
    """A closed-loop client that sends batches with explanations."""
    contents = [batch(_BATCH_ROWS, seed) for seed in range(50)]
    load = threading.Thread(target=closed_loop, args=(port, contents, 1, seconds))
    load.start()
    yield
    load.join()


@contextlib.contextmanager
def _job(bundle: Path, rows: Path, out: Path) -> Iterator[None]:
    """`mlrf score`, again and again, at the lowest priority."""
    command = ["nice", "-n", "19", sys.executable, "-m", "mlrf", "score", bundle, rows, "-o", out, "--restart"]
    is_over = threading.Event()

    def score() -> None:
        while not is_over.is_set():
            subprocess.run(command, check=True, capture_output=True)

    job = threading.Thread(target=score)
    job.start()
    yield
    is_over.set()
    job.join()


def _found(scale: Scale, broken_by: str = "") -> Finding:
    values = np.random.default_rng(5).normal(size=(scale.job_rows, len(SCHEMA.names))).round(3)
    singles = [request("POST", "/predict", {"features": row}) for row in values[:200].tolist()]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        bundle = write_tree_bundle(home / "b", schema=SCHEMA, n_trees=400, max_leaves=64)
        pq.write_table(pa.table(dict(zip(SCHEMA.names, values.T, strict=True))), home / "rows.parquet")
        with serving(bundle, workers=2, options=["--cache", "0"], broken_by=broken_by) as server:
            server.booted(2)

            def p99_ms() -> float:
                load = open_loop(server.port, singles, _RATE, scale.seconds, _CONNECTIONS)
                assert load.n(200) == sum(map(load.n, load.by_status)), load.by_status.keys()
                return load.p99_s() * 1e3

            alone_ms = p99_ms()
            with _batches(server.port, scale.seconds):
                batches_ms = p99_ms()
            if broken_by:  # which has no effect on the job
                return Finding.of(Bar("p99 beside batches / alone", batches_ms / alone_ms, scale.times))
            with _job(bundle, home / "rows.parquet", home / "scored"):
                job_ms = p99_ms()
    return Finding.of(
        Bar(f"p99 alone {alone_ms:.2f} ms; beside batches / alone", batches_ms / alone_ms, scale.times),
        Bar("beside mlrf score / alone", job_ms / alone_ms, scale.times),
    )


def measure(planted: bool) -> Finding:
    """Send single rows alone, beside batches and beside a job; with the fault, batches run on the event loop."""
    return _found(_FULL, _ON_THE_LOOP if planted else "")


def brief(planted: bool) -> Finding:
    """Do the same briefly, on a machine that may be busy; a fault needs the bar of a quiet one."""
    return _found(Scale(3.0, 200, 1.5), _ON_THE_LOOP) if planted else _found(_BRIEF)


ROW = Row(
    7,
    "bulk scoring beside 300 single rows a second: batches of 100 explained rows from a client that waits for each; `nice -n 19 mlrf score`",
    "p99 of single rows <= 1.5x that without bulk scoring",
    "batches run on the event loop",
    measure,
    brief,
)
