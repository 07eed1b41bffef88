"""Row 3: SIGTERM under fifty keep-alive clients."""

from __future__ import annotations

import signal
import time

from load import LOST, closed_load
from running import eventually
from scoreboard import Finding, Row
from stage import staged

_CLIENTS = 50
_BAR_S = 10.0


def measure(planted: bool) -> Finding:
    """Stop the server; with the fault, immediately."""
    with staged() as stage:
        server = stage.server
        # Only accepted requests count: a connection that ends without notice is a fault of the server.
        expected = stage.truth[stage.versions[0]][0]
        with closed_load(server.port, _CLIENTS, content=stage.bodies[0], expected=expected) as load:
            eventually(lambda: load.statuses.total() > 10 * _CLIENTS, 30, "some load")
            server.process.send_signal(signal.SIGQUIT if planted else signal.SIGTERM)
            began = time.monotonic()
            status = server.wait(30)
            took_s = time.monotonic() - began
            report = load.end()
    lost = sum(n for what, n in report.errors.items() if what in LOST)
    n_wrong = sum(report.statuses.values()) - report.ok
    figure = f"{lost} lost, {n_wrong} wrong of {report.ok}, exit {status} after {took_s:.1f} s"
    return Finding(figure, not lost and not n_wrong and status == 0 and took_s < _BAR_S)


ROW = Row(
    3,
    "SIGTERM with 50 keep-alive clients",
    "0 accepted requests lost; exit < 10 s",
    "SIGQUIT, which does not drain",
    measure,
)
