"""Predictions by key: what a look-up adds to a request inside the worker, and latency at 1,000 requests a second.

The answer cache is off, because a cached answer needs no look-up. With an argument it measures parts, in a
separate process, as hot_path does.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from contenders import Contender, serving
from figures import Figure, at_most
from plan import Plan
from steady_rate import CONNECTIONS, RATE, driving, report_of

PASSES = 15
LOOK_UP_US = 5.0
P99_MS = 1.0


def measure(plan: Plan, seconds: int) -> Iterator[Figure]:
    """Yield the parts, then the percentiles of plain answers and of those with precomputed explanations."""
    home = plan.home("regression")
    plan.say("rows by key, without sockets")
    result = subprocess.run([sys.executable, __file__, str(home)], check=True, capture_output=True, text=True)
    parts = json.loads(result.stdout)
    for what, found in parts.items():
        yield Figure(f"inside the worker: {what}", found, "us")
    # Use the fastest passes: other load on the machine makes passes slower, never faster.
    added_us = min(parts["by key, whole"]) - min(parts["named, whole"])
    yield Figure("a look-up adds to a named request", [added_us], "us", (at_most(LOOK_UP_US),))
    for kind in ("by-key", "by-key-explained"):
        plan.say(f"{RATE} requests a second for {seconds} s: {kind}")
        with tempfile.TemporaryDirectory() as state:
            contender = Contender("mlrf by key", ("--state-dir", state, "--cache", "0"))
            with (
                serving(contender, home / "keyed", workers=len(os.sched_getaffinity(0))) as running,
                driving(running.port, plan.bodies("regression", kind), RATE, CONNECTIONS, seconds) as driver,
            ):
                report = report_of(driver)
        for percentile in ("p50", "p99"):
            bars = (at_most(P99_MS),) if percentile == "p99" else ()
            found = [report[f"{percentile}_ms"]]
            yield Figure(f"{RATE:,} rps open loop: {percentile}, {kind}", found, "ms", bars, report)


def main(home: Path) -> None:
    """Measure, and print microseconds by part as JSON."""
    from hot_path import Sink, microseconds, requests  # noqa: PLC0415  the runner must not import what they import

    from mlrf.core.bundle import read_bundle  # noqa: PLC0415
    from mlrf.serving.config.loader import read_settings  # noqa: PLC0415
    from mlrf.serving.http.server import HttpServer  # noqa: PLC0415
    from mlrf.serving.http.tls_connection import new_connection  # noqa: PLC0415
    from mlrf.serving.models.service import Service  # noqa: PLC0415
    from mlrf.serving.routes import layout  # noqa: PLC0415
    from mlrf.serving.runtime.control_block import ControlBlock  # noqa: PLC0415
    from mlrf.serving.telemetry.exposition import Exposition  # noqa: PLC0415
    from mlrf.serving.telemetry.worker_meter import WorkerMeter  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as state:
        settings = read_settings([str(home / "keyed"), "--state-dir", state, "--cache", "0"], {})
        metric_layout = layout(["keyed"])
        block = ControlBlock(1, metric_layout.n_words)
        meter = WorkerMeter(metric_layout, block.row(0))
        service = Service([read_bundle(home / "keyed")], settings, meter, Exposition(metric_layout, block, [], ""))

        def fail(fault: Exception, _request_id: bytes) -> tuple[int, bytes, bytes]:
            raise fault

        router = service.generation.router()
        connection = new_connection(HttpServer(router, settings.limits, meter, fail, lambda: None))
        connection.connection_made(Sink())
        bodies = {
            kind: (home / f"{kind}.jsonl").read_bytes().splitlines() for kind in ("named", "by-key", "by-key-explained")
        }
        gc.collect()
        gc.freeze()  # as a worker does
        parts = {
            "named, whole": requests("/predict", bodies["named"]),
            "by key, whole": requests("/predict", bodies["by-key"]),
            "by key with precomputed explanation, whole": requests("/predict", bodies["by-key-explained"]),
        }
        found: dict[str, list[float]] = {what: [] for what in parts}
        for _ in range(PASSES):
            for what, given in parts.items():
                found[what].append(microseconds(connection.data_received, given))
        print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
