"""The shutdown delay: after SIGTERM `/readyz` fails, so that load balancers stop sending, but requests are still accepted."""

from __future__ import annotations

import math


class ShutdownDelay:
    """Counts down `--shutdown-delay` once started. Times are in seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._over_s = math.inf

    @property
    def has_begun(self) -> bool:
        """Whether the server was asked to stop."""
        return self._over_s < math.inf

    def begin(self, now_s: float, delay_s: float) -> None:
        """Start the countdown."""
        self._over_s = now_s + delay_s

    def is_over(self, now_s: float) -> bool:
        """Return whether the server stops accepting now."""
        return now_s >= self._over_s

    def left_s(self, now_s: float, most_s: float) -> float:
        """Return the seconds until then, at most `most_s`; `most_s` before the countdown has started."""
        return max(0.0, min(most_s, self._over_s - now_s))
