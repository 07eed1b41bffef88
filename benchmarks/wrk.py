"""The most that a server answers: load from wrk, its processor time, and its memory meanwhile.

wrk is a program, not ours: it is used where the question is how fast a server is at most, because on a machine that both share
a generator in Python would need several times the server's own processor time. `wrk.lua` gives it the bodies. All
other load, at a rate or over gRPC, comes from `mlrf.demo.load_generator`.
"""

from __future__ import annotations

import json
import math
import secrets
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import processes
from contenders import BenchmarkError, Running

_SCRIPT = Path(__file__).with_name("wrk.lua")
_TOLERANCE = 1e-6
_LOOK_S = 0.8
"""When memory and sockets are measured, as a share of the load: late, when every buffer has reached its size."""


@dataclass(frozen=True)
class Load:
    """One run of wrk. Latencies in ms; `per_cpu_s` is requests per second of the server's own processor time."""

    requests: int
    per_s: float
    per_cpu_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    pss_mb: float
    pss_without_files_mb: float
    connections_by_worker: list[int]


def require_wrk() -> str:
    """Return the path of wrk; BenchmarkError says how to get it."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchmarkError(
            "wrk is missing: apt-get install wrk (Debian, Ubuntu) or brew install wrk, then run this again"
        )
    return found


def drive(running: Running, path: str, bodies: Path, *, connections: int, seconds: int, repeated: bool = False) -> Load:
    """Send the bodies of a file in turn as fast as they are answered; BenchmarkError if a response is not 2xx.

    Every request is new to the server, unless they are to be `repeated`.
    """
    kind = "repeated" if repeated else str(secrets.randbelow(1 << 24))
    sizes = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command = [require_wrk(), *sizes, "-s", str(_SCRIPT), running.url(path), "--", str(bodies), kind]
    before = processes.cpu_seconds(running.pid)
    wrk = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(seconds * _LOOK_S)
        pss, without_files = processes.pss_bytes(running.pid), processes.pss_without_files_bytes(running.pid)
        by_process = processes.connections_by_process(running.pid, running.port)
        printed, _ = wrk.communicate(timeout=seconds + 30)
    finally:
        if wrk.poll() is None:
            wrk.kill()
            wrk.wait()
    cpu_s = processes.cpu_seconds(running.pid) - before
    report_line = next((line for line in printed.splitlines() if line.startswith("JSON ")), None)
    if report_line is None:
        raise BenchmarkError(f"wrk failed on {running.contender.name} {path}: {printed.strip()}")
    report = json.loads(report_line.removeprefix("JSON "))
    if report["refused"] or report["broken"] or not report["requests"]:
        raise BenchmarkError(f"{running.contender.name} {path}: {report}")
    return Load(
        requests=report["requests"],
        per_s=report["requests"] / report["elapsed_s"],
        per_cpu_s=report["requests"] / cpu_s,
        p50_ms=report["p50_ms"],
        p99_ms=report["p99_ms"],
        max_ms=report["max_ms"],
        pss_mb=pss / 1e6,
        pss_without_files_mb=without_files / 1e6,
        connections_by_worker=sorted(by_process.values()),
    )


def check_answers(running: Running, home: Path, sample: int = 20) -> None:
    """Send some rows by name, by position and in a batch; BenchmarkError unless the answers equal the training library's."""
    expected = [json.loads(line) for line in (home / "expected.jsonl").read_text().splitlines()]
    for kind in ("named", "positional"):
        for body, right in zip((home / f"{kind}.jsonl").read_bytes().splitlines()[:sample], expected, strict=False):
            status, answer = running.ask("/predict", body)
            if status != 200 or not same(answer["prediction"], right):
                raise BenchmarkError(f"{running.contender.name} answered {status} {answer}, LightGBM predicts {right}")
    status, answer = running.ask("/predict/batch", (home / "batch.jsonl").read_bytes().split(b"\n", 1)[0])
    if status != 200 or not all(map(same, answer["predictions"], expected)):
        raise BenchmarkError(f"{running.contender.name} gave a wrong answer for a batch, with status {status}")


def same(answered: float | list[float], right: float | list[float]) -> bool:
    """Whether two predictions are equal but for the rounding of another engine."""
    if isinstance(right, list):
        return isinstance(answered, list) and len(answered) == len(right) and all(map(same, answered, right))
    return isinstance(answered, float) and math.isclose(answered, right, rel_tol=_TOLERANCE)
