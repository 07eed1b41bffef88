"""Row 17: a mixed load for SOAK_MINUTES (10), and the slope of the workers' memory.

An allocator grows to the greatest need that has occurred, and some needs occur late. Measured with only reloads and only batches,
many times as often, two workers grow by 4 MB over the first 100 reloads and by 2 MB over the first 3,000 batches, and by nothing
over the next 280 and 4,000. A sparse mix would take hours to get there, and its slope would look like a leak. So everything is done often
before the soak begins; the first fifth of the soak is left out too, and the slope is computed from the median of each tenth of the rest.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import time

from running import resident_bytes
from scoreboard import Finding, Row
from stage import Stage, staged
from steady_load import SteadyLoad

_RATE = 300.0
_SAMPLE_S = 1.0
_RELOAD_EACH_S = 30.0
_BATCH_EACH_S = 2.0
_BAR_PERCENT = 1.0
_WARM_RELOADS, _WARM_BATCHES = 200, 4000
_LEAK_BYTES = 60_000
_PLANTED_MINUTES = 1.0


def slope_percent_an_hour(times_s: list[float], sizes: list[float]) -> float:
    """Return the slope of a least-squares line through the medians of ten intervals, in percent of their mean per hour."""
    kept = [
        (t, size) for t, size in zip(times_s, sizes, strict=True) if t - times_s[0] > (times_s[-1] - times_s[0]) / 5
    ]
    n = max(1, len(kept) // 10)
    parts = [kept[i : i + n] for i in range(0, len(kept) - n + 1, n)]
    x = [statistics.median(t for t, _ in part) for part in parts]
    y = [statistics.median(size for _, size in part) for part in parts]
    return statistics.linear_regression(x, y).slope * 3600 / statistics.mean(y) * 100


def measure(planted: bool) -> Finding:
    """Send load, batches, explanations, refused requests and reloads; with the fault, requests that never end accumulate in the server."""
    minutes = _PLANTED_MINUTES if planted else float(os.environ.get("SOAK_MINUTES", "10"))
    options = ["--request-timeout", "86400"] if planted else []
    with staged(*options) as stage, SteadyLoad(stage.server.port, _RATE, stage.truth, stage.bodies) as load:
        if not planted:
            _warm_up(stage)
        times, sizes = _watch(stage, minutes * 60, leak=planted)
    slope = slope_percent_an_hour(times, sizes)
    faults = {what: n for what, n in load.totals.faults.items() if n}
    first, last = (statistics.median(part) / 1e6 for part in (sizes[len(sizes) // 5 :][:30], sizes[-30:]))
    figure = f"{minutes:g} min, {len(load.totals.took_s)} answers, {first:.1f} -> {last:.1f} MB, {slope:+.2f} %/h, faults {faults}"
    return Finding(figure, slope < _BAR_PERCENT and not faults)


def _ask_all(stage: Stage) -> None:
    many = {"instances": stage.bodies[:50], "explain": True}
    assert stage.server.ask("POST", "/predict/batch", many).status == 200
    assert stage.server.ask("POST", "/predict", {"features": {}}).status == 422
    assert stage.server.ask("GET", "/metrics").status == 200


def _reload(stage: Stage, version: int) -> None:
    status, answer = stage.load(version)
    assert status == 200, answer


def _warm_up(stage: Stage) -> None:
    for number in range(_WARM_RELOADS):
        _reload(stage, 2 - number % 2)
        for _ in range(_WARM_BATCHES // _WARM_RELOADS):
            _ask_all(stage)


def _watch(stage: Stage, length_s: float, *, leak: bool) -> tuple[list[float], list[float]]:
    times, sizes = [], []
    began = time.monotonic()
    reload_s = batch_s = began
    version = 1
    with contextlib.ExitStack() as opened:
        while (now := time.monotonic()) - began < length_s:
            if now - batch_s > _BATCH_EACH_S:
                batch_s = now
                _ask_all(stage)
            if now - reload_s > _RELOAD_EACH_S:
                reload_s, version = now, 3 - version
                _reload(stage, version)
            if leak:
                client = opened.enter_context(socket.create_connection(("127.0.0.1", stage.server.port)))
                client.sendall(
                    b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b" " * _LEAK_BYTES
                )
            times.append(now)
            sizes.append(float(sum(resident_bytes(pid) for pid in stage.server.workers())))
            time.sleep(_SAMPLE_S)
    return times, sizes


ROW = Row(
    17,
    "a mixed soak",
    "memory slope < 1 %/h, no fault",
    "requests that never end accumulate",
    measure,
)
