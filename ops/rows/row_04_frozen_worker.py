"""Row 4: SIGSTOP of a worker."""

from __future__ import annotations

import os
import signal
import time

from running import eventually
from scoreboard import Finding, Row
from stage import staged
from steady_load import SteadyLoad

_RATE, _CONNECTIONS = 200.0, 32
_BAR_S = 5.0


def measure(planted: bool) -> Finding:
    """Freeze a worker; with the fault, the limit is 15 s."""
    options = ["--worker-timeout", "15"] if planted else []
    with (
        staged(*options) as stage,
        SteadyLoad(stage.server.port, _RATE, stage.truth, stage.bodies, connections=_CONNECTIONS) as load,
    ):
        server = stage.server
        eventually(lambda: len(load.totals.took_s) > _RATE, 20, "some load")
        frozen = server.workers()[0]
        os.kill(frozen, signal.SIGSTOP)
        began = time.monotonic()
        eventually(lambda: frozen not in server.workers() and len(server.workers()) == 2, 30, "a replacement")
        replaced_s = time.monotonic() - began
        time.sleep(2.0)
    lost = load.totals.faults["connection lost"]
    others = sum(load.totals.faults.values()) - lost
    figure = f"replaced after {replaced_s:.1f} s; {lost} lost of at most {_CONNECTIONS} it held, {others} other faults"
    return Finding(figure, replaced_s < _BAR_S and lost <= _CONNECTIONS and not others)


ROW = Row(4, "SIGSTOP of a worker", "replaced < 5 s; only its requests hang", "--worker-timeout 15", measure)
