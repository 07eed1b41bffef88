"""The report of a load."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LoadReport:
    """The results of all requests that were due (in a closed loop: sent).

    The percentiles are over the requests that were answered, plus those still unanswered at the end, which enter with the
    time they had waited: a request without an answer must not improve the figures. Those that failed with their
    connection are only in `errors`, under "connection lost"; idle connections that broke, under "idle connection lost".
    `rate_achieved` counts only successful answers. `driver_lag_p99_ms` is how late the driver itself was in sending; if it
    approaches the latencies, they describe the driver and not the server.
    """

    due: int
    ok: int
    statuses: dict[int, int]
    """Number of answers by status."""
    errors: dict[str, int]
    reconnects: int
    requested_rate: float
    """NaN in a closed loop."""
    rate_achieved: float
    elapsed_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    driver_lag_p99_ms: float

    @property
    def error_count(self) -> int:
        """Errors of all kinds together."""
        return sum(self.errors.values())


def percentile(ordered: list[float], percent: int) -> float:
    """Return the nearest-rank percentile: the latency of a request, without interpolation; NaN if there is none."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else math.nan
