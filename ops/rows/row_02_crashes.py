"""Row 2: ten worker crashes in thirty seconds."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from scoreboard import Finding, Row
from stage import staged
from steady_load import SteadyLoad

_CRASHES, _LENGTH_S, _RATE = 10, 30.0, 200.0
_IN_FLIGHT = 32


def measure(planted: bool) -> Finding:
    """Kill any worker, ten times; with the fault, the tenth is the arbiter."""
    with staged() as stage, SteadyLoad(stage.server.port, _RATE, stage.truth, stage.bodies) as load:
        server = stage.server
        began = time.monotonic()
        killed = 0
        while killed < _CRASHES:
            time.sleep(max(0.0, began + killed * _LENGTH_S / _CRASHES - time.monotonic()))
            if workers := server.workers():
                os.kill(workers[killed % len(workers)], signal.SIGKILL)
                killed += 1
        if planted:
            server.process.kill()
            for pid in server.workers():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(1.0)
        lives = server.process.poll() is None and server.is_ready()
    lost = load.totals.faults["connection lost"]
    others = sum(load.totals.faults.values()) - lost
    figure = (
        f"{killed} crashes, service {'lives' if lives else 'ended'}, {lost} lost in flight, {others} other faults, "
    )
    figure += f"p99 {load.totals.p99_ms():.0f} ms"
    return Finding(figure, lives and lost <= _CRASHES * _IN_FLIGHT and not others)


ROW = Row(2, "10 worker crashes in 30 s", "the service never exits", "the arbiter is killed too", measure)
