"""Rows 5 and 6 of the scoreboard: three times what the server can answer, and deadlines that are over.

The load's own work is on the same two processors, so what is compared is of one run. `make ops` asks for a minute and holds the
bars; `make test` asks for a moment and holds generous ones, for its machine may be busy.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bundles import write_tree_bundle
from mlrf.core.schema import Feature, Schema
from open_loop import closed_loop, flood, open_loop
from raw_http import request
from running import eventually, serving
from scoreboard import FULL, bar

SCHEMA = Schema(tuple(Feature(f"x{i}", example=0.5) for i in range(30)))
SECONDS, CAPACITY_S = (60.0, 10.0) if FULL else (1.5, 1.0)
NO_CACHE = ["--cache", "0"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_tree_bundle(tmp_path_factory.mktemp("bars") / "b", schema=SCHEMA, n_trees=400, max_leaves=64)


def batch(n):
    rows = np.random.default_rng(3).normal(size=(n, 30)).round(3).tolist()
    return request("POST", "/predict/batch", {"instances": [{"features": row} for row in rows], "explain": 2})


ONE = request("POST", "/predict", {"features": [0.25] * 30})


class Health:
    """Asks a server for its health eighty times a second from a process of its own: the load's would wait for its interpreter."""

    def __init__(self, server) -> None:
        probe = Path(__file__).parents[1] / "health_probe.py"
        self.process = subprocess.Popen(
            [sys.executable, probe, str(server.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "ready\n"

    def p99_s(self) -> float:
        told, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        waits = sorted(json.loads(told))
        return waits[int(len(waits) * 0.99)]


def normal_again_s(server, content) -> float:
    """Seconds until ten requests in a row are answered."""
    began = time.perf_counter()
    with server.client() as client:
        while True:
            statuses = []
            for _ in range(10):
                client.send(content)
                statuses.append(client.answer().status)
            if statuses == [200] * 10:
                return time.perf_counter() - began
            assert time.perf_counter() - began < 10


def test_explained_batches_at_three_times_capacity(path):
    with serving(path, workers=2, options=[*NO_CACHE, "--max-batch", "200"]) as server:
        server.booted(2)
        content = batch(200)
        closed_loop(server.port, content, 8, 1.0)
        alone = closed_loop(server.port, content, 1, 1.0)
        run_s = sum(alone.by_status[200]) / alone.n(200)
        capacity = closed_loop(server.port, content, 8, CAPACITY_S)
        health = Health(server)
        heard = open_loop(server.port, content, 3 * capacity.per_s(), SECONDS, 400)
        health_s = health.p99_s()
        again_s = normal_again_s(server, content)
        assert set(heard.by_status) == {200, 503}
        assert (heard.n_lost, heard.without_retry_after, server.troubles) == (0, 0, [])
        print(f"\n  capacity {capacity.per_s():.0f}/s, asked {heard.n_sent / heard.seconds:.0f}/s, unsent {heard.n_unsent}, "
              f"p99 {capacity.p99_s() * 1e3:.1f} -> {heard.p99_s() * 1e3:.1f} ms, refused p99 {heard.p99_s(503) * 1e3:.1f} ms")  # fmt: skip
        bar(5, "work of a batch, ms (at least 2)", run_s * 1e3, 2, at_least=True)
        bar(
            5,
            "batches at 3x: goodput, share of capacity",
            heard.per_s() / capacity.per_s(),
            0.9,
            at_least=True,
            busy=0.2,
        )
        bar(5, "batches at 3x: accepted p99, times that at capacity", heard.p99_s() / capacity.p99_s(), 2, busy=50)
        bar(5, "batches at 3x: /healthz p99, ms", health_s * 1e3, 50, busy=3000)
        bar(5, "batches at 3x: normal again, s", again_s, 1, busy=5)


def test_single_rows_at_three_times_capacity(path):
    with serving(path, workers=2, options=NO_CACHE) as server:
        server.booted(2)
        capacity = flood(server.port, ONE, 400_000, CAPACITY_S / 4, 32)
        per_s = capacity.n(200) / capacity.until_answered_s
        health = Health(server)
        heard = flood(server.port, ONE, 3 * per_s, SECONDS / 2, 32)
        health_s = health.p99_s()
        again_s = normal_again_s(server, ONE)
        assert set(heard.by_status) <= {200, 503}
        assert (heard.n_lost, heard.without_retry_after, server.troubles) == (0, 0, [])
        print(f"\n  capacity {per_s:.0f}/s, sent {heard.n_sent / heard.seconds:.0f}/s, "
              f"answered {heard.n(200)}, refused {heard.n(503)} of {heard.n_sent}")  # fmt: skip
        bar(5, "rows at 3x: /healthz p99, ms", health_s * 1e3, 50, busy=3000)
        bar(5, "rows at 3x: normal again, s", again_s, 1, busy=5)


def test_no_inference_starts_late(path):
    """Requests with deadlines behind long work: what is answered with 504 was never begun, and counts no explanation."""
    n = 400 if FULL else 60
    late = batch(60).replace(b"\r\n\r\n", b"\r\nX-Request-Timeout-Ms: 30\r\n\r\n", 1)
    with serving(path, options=[*NO_CACHE, "--max-batch", "20000"]) as server, contextlib.ExitStack() as opened:
        clients = [opened.enter_context(server.client()) for _ in range(20)]
        late_began, statuses = 0, []
        for _ in range(n // len(clients)):
            for client in clients:
                client.send(late)
            statuses += [client.answer().status for client in clients]
        found = server.metrics()
        begun = (
            found["mlrf_request_duration_seconds_count;route=/predict/batch"]
            - statuses.count(504)
            - statuses.count(503)
        )
        late_began = begun - statuses.count(200)
        assert set(statuses) <= {200, 503, 504}
        assert statuses.count(504)
        bar(6, "inferences begun after their deadline", late_began, 0)
        # The counter of explanations is of what was read; of runs there were as many as answers.
        slow = clients[:2]
        for client in slow:
            client.send(late[:-5])
        time.sleep(0.05)
        counted = server.metrics()["mlrf_instances_total"]
        for client in slow:
            client.send(late[-5:])
        assert [client.answer().status for client in slow] == [504, 504]
        assert server.metrics()["mlrf_instances_total"] == counted
        eventually(server.is_ready)
