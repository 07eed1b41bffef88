"""An open loop of 1,000 requests a second: latency counted from when each request was due.

With arguments it is the load driver, in a separate process with its own garbage collector and pages.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import processes
from contenders import HOST, MLRF, PEER, BenchmarkError, Running, serving
from figures import Figure, at_most
from plan import Plan

RATE, CONNECTIONS = 1_000, 64
SETTLED_S, WATCHED_S = 2.0, 6.0
"""When a load has opened its connections, and for how long the server's processor time is measured from then on."""


def measure(plan: Plan, seconds: int) -> Iterator[Figure]:
    """Yield the percentiles of mlrf with one worker per processor, as by default, and of the peer alike."""
    workers = len(os.sched_getaffinity(0))
    for contender in (MLRF, PEER):
        plan.say(f"{RATE} requests a second for {seconds} s: {contender.name}")
        bodies = plan.bodies("regression", "named")
        with (
            serving(contender, plan.bundle("regression"), workers=workers) as running,
            driving(running.port, bodies, RATE, CONNECTIONS, seconds) as driver,
        ):
            report = report_of(driver)
        for percentile in ("p50", "p95", "p99", "max"):
            bars = (at_most(5),) if percentile == "p99" and contender is MLRF else ()
            found = [report[f"{percentile}_ms"]]
            yield Figure(f"{RATE:,} rps open loop: {percentile}, {contender.name}", found, "ms", bars, report)


def cost_us(running: Running, bodies: Path, rate: int, connections: int) -> float:
    """Return the server's processor time a request, in µs, at a steady rate over so many open connections."""
    with driving(running.port, bodies, rate, connections, SETTLED_S + WATCHED_S + 1) as driver:
        time.sleep(1 + SETTLED_S)  # the driver's own start comes first
        began, before = time.monotonic(), processes.cpu_seconds(running.pid)
        time.sleep(WATCHED_S)
        elapsed_s, cpu_s = time.monotonic() - began, processes.cpu_seconds(running.pid) - before
        report_of(driver)
    return 1e6 * cpu_s / (rate * elapsed_s)


@contextmanager
def driving(
    port: int, bodies: Path, rate: int, connections: int, seconds: float, path: str = "/predict"
) -> Iterator[subprocess.Popen[str]]:
    """Drive a server with the bodies of a file, in a process of its own."""
    command = [sys.executable, __file__, *map(str, (port, bodies, rate, connections, seconds, path))]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield driver
    finally:
        if driver.poll() is None:
            driver.kill()
            driver.wait()


def report_of(driver: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the result of a driver; BenchmarkError if it failed, or one of its requests did."""
    printed, complaint = driver.communicate(timeout=120)
    if driver.returncode:
        raise BenchmarkError(f"the load driver failed: {complaint.strip()}")
    report: dict[str, Any] = json.loads(printed)
    if report["errors"]:
        raise BenchmarkError(f"requests failed: {report['errors']}")
    return report


def main(port: int, bodies: Path, rate: int, connections: int, seconds: float, path: str) -> None:
    """Drive, and print the report as JSON; the first second, which opens connections and warms caches, does not count."""
    from mlrf.demo.load_generator.drive import drive_and_wait  # noqa: PLC0415  the runner must not import it

    lines = bodies.read_bytes().splitlines()
    if connections == CONNECTIONS:
        drive_and_wait(HOST, port, path, lines, rate=rate, duration_s=1.0, connections=connections)
    # New bodies, so that none is answered from a cache.
    n_sent = math.ceil(rate * seconds)
    lines = [lines[number % len(lines)] + _spelled(number) for number in range(n_sent)]
    report = drive_and_wait(HOST, port, path, lines, rate=rate, duration_s=seconds, connections=connections)
    print(json.dumps(dataclasses.asdict(report)))


def _spelled(number: int) -> bytes:
    """Return white space that encodes a number."""
    return bytes(b" \t"[number >> bit & 1] for bit in range(20))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), sys.argv[6])
