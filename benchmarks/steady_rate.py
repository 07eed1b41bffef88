"""1,000 requests a second, whatever the server does: latency counted from when each request was due.

Run with arguments it is the driver, in a process of its own: its garbage and its pages are not the runner's.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from contenders import HOST, MLRF, PEER, BenchmarkError, serving
from figures import Figure, at_most
from plan import Plan

RATE, CONNECTIONS = 1_000, 64


def measure(plan: Plan, seconds: int) -> Iterator[Figure]:
    """Yield the percentiles of mlrf with one worker a processor, as it starts by default, and of the rival alike."""
    workers = len(os.sched_getaffinity(0))
    for contender in (MLRF, PEER):
        plan.say(f"{RATE} requests a second for {seconds} s: {contender.name}")
        with serving(contender, plan.bundle("regression"), workers=workers) as running:
            report = _drive(running.port, plan.bodies("regression", "named"), seconds)
        for percentile in ("p50", "p95", "p99", "max"):
            bars = (at_most(5),) if percentile == "p99" and contender is MLRF else ()
            found = [report[f"{percentile}_ms"]]
            yield Figure(f"{RATE:,} rps open loop: {percentile}, {contender.name}", found, "ms", bars, report)


def _drive(port: int, bodies: Path, seconds: int) -> dict[str, object]:
    command = [sys.executable, __file__, str(port), str(bodies), str(seconds)]
    told = subprocess.run(command, check=False, capture_output=True, text=True, timeout=seconds + 60)
    if told.returncode:
        raise BenchmarkError(f"the load driver failed: {told.stderr.strip()}")
    report = json.loads(told.stdout)
    if report["errors"]:
        raise BenchmarkError(f"requests failed at {RATE} a second: {report['errors']}")
    return report


def main(port: int, bodies: Path, seconds: int) -> None:
    """Drive, and print the report as JSON."""
    from mlrf.demo.load import drive_and_wait  # noqa: PLC0415  the runner must not import it

    lines = bodies.read_bytes().splitlines()
    warm_up = {"rate": RATE, "duration_s": 1.0, "connections": CONNECTIONS}
    drive_and_wait(HOST, port, "/predict", lines, **warm_up)
    report = drive_and_wait(HOST, port, "/predict", lines, **warm_up | {"duration_s": float(seconds)})
    print(json.dumps(dataclasses.asdict(report)))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
