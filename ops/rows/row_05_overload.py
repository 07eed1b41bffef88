"""Row 5: three times what the server can answer, of work that takes its time and of single rows.

The load shares the processors with the server, so what is compared is of one run.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bundles import write_tree_bundle
from mlrf.core.schema import Feature, Schema
from open_loop import closed_loop, flood, open_loop
from raw_http import request
from running import Server, serving
from scoreboard import Bar, Finding, Row

SCHEMA = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(30)))
_ONE = request("POST", "/predict", {"features": [0.25] * 30})
_PROBE = Path(__file__).parents[1] / "health_probe.py"
_ADMITS_ALL = """
from mlrf.serving.runtime.admission import Admission
Admission.refusal = lambda self, route, n_bytes: None
Admission._is_full = lambda self: False
"""
"""The server without its admission."""


@dataclass(frozen=True)
class Scale:
    """How long, and what it is held to."""

    seconds: float
    capacity_s: float
    bodies: int
    goodput: float
    p99: float
    health_ms: float
    again_s: float


_FULL = Scale(60.0, 10.0, 400, 0.9, 2, 50, 1)
_PLANTED = Scale(15.0, 5.0, 400, 0.9, 2, 50, 1)
_BRIEF = Scale(1.0, 0.5, 100, 0.2, 50, 3000, 5)
"""The machine of the tests may be busy."""


@contextlib.contextmanager
def grown(workers: int, *options: str, broken_by: str = "") -> Iterator[Server]:
    """Serve a model of 400 trees without a cache."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_tree_bundle(Path(folder) / "b", schema=SCHEMA, n_trees=400, max_leaves=64)
        with serving(path, workers=workers, options=["--cache", "0", *options], broken_by=broken_by) as server:
            server.booted(workers)
            yield server


def batch(n: int, seed: int = 3) -> bytes:
    """Return a request of `n` rows to explain. The same work is done once for all who wait for it: load takes other seeds."""
    rows = np.random.default_rng(seed).normal(size=(n, 30)).round(3).tolist()
    return request("POST", "/predict/batch", {"instances": [{"features": row} for row in rows], "explain": 2})


class _Health:
    """Asks for /healthz all the while, from a process of its own: the load's would wait for its interpreter."""

    def __init__(self, server: Server) -> None:
        self._probe = subprocess.Popen(
            [sys.executable, _PROBE, str(server.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._probe.stdout is not None
        assert self._probe.stdout.readline() == "ready\n"

    def p99_ms(self) -> float:
        told, _ = self._probe.communicate(timeout=60)
        assert self._probe.returncode == 0
        waits = sorted(json.loads(told))
        return waits[int(len(waits) * 0.99)] * 1e3


def _normal_again_s(server: Server, content: bytes) -> float:
    """Seconds until ten requests in a row are answered; 10 when that takes longer."""
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


def _batches(scale: Scale, broken_by: str) -> list[Bar]:
    with grown(2, "--max-batch", "200", broken_by=broken_by) as server:
        contents = [batch(200, seed) for seed in range(scale.bodies)]
        alone = closed_loop(server.port, contents, 1, min(scale.capacity_s, 2.0))
        capacity = closed_loop(server.port, contents, 8, scale.capacity_s)
        health = _Health(server)
        heard = open_loop(server.port, contents, 3 * capacity.per_s(), scale.seconds, 400)
        health_ms = health.p99_ms()
        again_s = _normal_again_s(server, contents[0])
    others = sum(heard.n(status) for status in heard.by_status if status not in (200, 503))
    return [
        Bar("work ms", sum(alone.by_status[200]) / alone.n(200) * 1e3, 2, at_least=True),
        Bar("goodput of capacity", heard.per_s() / capacity.per_s(), scale.goodput, at_least=True),
        Bar("accepted p99 x", heard.p99_s() / capacity.p99_s(), scale.p99),
        Bar("lost or neither 200 nor 503", heard.n_lost + others, 0),
        Bar("refused without Retry-After", heard.without_retry_after, 0),
        Bar("/healthz p99 ms", health_ms, scale.health_ms),
        Bar("normal after s", again_s, scale.again_s),
    ]


def _rows(scale: Scale, broken_by: str) -> list[Bar]:
    with grown(2, broken_by=broken_by) as server:
        capacity = flood(server.port, _ONE, 1_000_000, scale.capacity_s / 4, 32)
        per_s = capacity.by_status[200] / capacity.seconds
        health = _Health(server)
        heard = flood(server.port, _ONE, 3 * per_s, scale.seconds / 2, 32)
        health_ms = health.p99_ms()
        again_s = _normal_again_s(server, _ONE)
    others = sum(n for status, n in heard.by_status.items() if status not in (200, 503))
    return [
        Bar("rows: lost or neither 200 nor 503", heard.n_lost + others, 0),
        Bar("refused without Retry-After", heard.without_retry_after, 0),
        Bar("answered/s", heard.by_status.total() / heard.seconds, 1, at_least=True),
        Bar("/healthz p99 ms", health_ms, scale.health_ms),
        Bar("normal after s", again_s, scale.again_s),
    ]


def _found(scale: Scale, broken_by: str = "") -> Finding:
    return Finding.of(*_batches(scale, broken_by), *_rows(scale, broken_by))


def measure(planted: bool) -> Finding:
    """Ask three times what it answers; with a fault, the server turns nobody away."""
    return _found(_PLANTED, _ADMITS_ALL) if planted else _found(_FULL)


def brief(planted: bool) -> Finding:
    """Ask for a moment, of a server that may be slow."""
    return _found(_BRIEF, _ADMITS_ALL if planted else "")


ROW = Row(
    5,
    "3x capacity for 60 s",
    "goodput >= 90 %, accepted p99 <= 2x; single rows: only 200 and 503; both: Retry-After, /healthz p99 < 50 ms, normal again < 1 s",
    "a server that turns nobody away",
    measure,
    brief,
)
