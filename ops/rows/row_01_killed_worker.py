"""Row 1: `kill -9` of a worker under 1,000 requests a second."""

from __future__ import annotations

import os
import signal
import time

from running import eventually
from scoreboard import Finding, Row
from stage import staged
from steady_load import SteadyLoad

_RATE, _CONNECTIONS = 1000.0, 32
_BAR_S = 1.0


def measure(planted: bool) -> Finding:
    """Kill a worker; with the fault, it is not replaced for two seconds."""
    with (
        staged() as stage,
        SteadyLoad(stage.server.port, _RATE, stage.truth, stage.bodies, connections=_CONNECTIONS) as load,
    ):
        server = stage.server
        eventually(lambda: len(load.totals.took_s) > 2 * _RATE, 20, "some load")
        first = server.workers()
        if planted:
            os.kill(server.process.pid, signal.SIGSTOP)
        os.kill(first[0], signal.SIGKILL)
        killed = time.monotonic()
        if planted:
            time.sleep(2.0)
            os.kill(server.process.pid, signal.SIGCONT)
        starts = "mlrf_worker_starts_total"
        eventually(lambda: server.metrics()[starts] == 3 and server.metrics()["mlrf_workers_ready"] == 2, 20, "two")
        replaced_s = time.monotonic() - killed
        time.sleep(2.0)
    faults = {what: n for what, n in load.totals.faults.items() if n}
    lost = load.totals.faults["connection lost"]
    others = sum(faults.values()) - lost
    figure = f"{lost} lost of at most {_CONNECTIONS} in flight, {others} other faults (all: {faults})"
    figure += f", ready again after {replaced_s:.2f} s"
    figure += f", p99 {load.totals.p99_ms():.1f} ms"
    return Finding(figure, lost <= _CONNECTIONS and not others and replaced_s < _BAR_S)


ROW = Row(
    1,
    "kill -9 of a worker at 1,000 requests/s",
    "only its in-flight requests fail; replaced < 1 s",
    "the arbiter sleeps for 2 s",
    measure,
)
