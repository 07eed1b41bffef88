"""Row 12: 200 reloads under 500 requests a second."""

from __future__ import annotations

import os
import time
from pathlib import Path

from running import resident_bytes
from scoreboard import Finding, Row
from stage import Stage, staged
from steady_load import SteadyLoad

_RELOADS, _PLANTED_RELOADS, _RATE = 200, 30, 500.0
_WARM_RELOADS = 20
_GROWTH = 1.05


def _sizes(stage: Stage) -> tuple[int, int, int]:
    """Memory, file descriptors and threads of the workers, without the descriptors of connections."""
    workers = stage.server.workers()
    memory = sum(resident_bytes(pid) for pid in workers)
    descriptors = sum(_n_files(pid) for pid in workers)
    threads = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in workers)
    return memory, descriptors, threads


def _n_files(pid: int) -> int:
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found += not str(entry.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return found


def measure(planted: bool) -> Finding:
    """Switch between two versions; with the fault, the expected answers of the versions are exchanged."""
    reloads = _PLANTED_RELOADS if planted else _RELOADS
    with staged() as stage:
        truth = dict(zip(stage.truth, reversed(stage.truth.values()), strict=True)) if planted else stage.truth
        slowest_s = 0.0
        with SteadyLoad(stage.server.port, _RATE, truth, stage.bodies) as load:
            for number in range(reloads):
                began = time.monotonic()
                status, answer = stage.load(2 - number % 2)
                slowest_s = max(slowest_s, time.monotonic() - began)
                if status != 200:
                    return Finding(f"reload {number} was refused: {answer}", holds=False)
                if number == _WARM_RELOADS:
                    time.sleep(3.0)
                    before = _sizes(stage)
            # Requests in flight keep an old version alive; its memory is freed within a second or two after the last one.
            time.sleep(3.0)
            after = _sizes(stage)
    faults = {what: n for what, n in load.totals.faults.items() if n}
    growth = after[0] / before[0]
    figure = (
        f"{reloads} reloads, {len(load.totals.took_s)} answers of {len(set(load.totals.versions))} versions, faults {faults}, memory "
        f"{(growth - 1) * 100:+.1f} %, files {before[1]} -> {after[1]}, threads {before[2]} -> {after[2]}, slowest {slowest_s:.2f} s, "
        f"p99 {load.totals.p99_ms():.1f} ms"
    )
    flat = after[1] <= before[1] and after[2] <= before[2]
    return Finding(figure, not faults and growth < _GROWTH and flat)


ROW = Row(
    12,
    "200 reloads at 500 requests/s",
    "0 errors, 0 mixed answers, memory < +5 % after the first 20, descriptors and threads flat",
    "the expected answers of the versions are exchanged",
    measure,
)
