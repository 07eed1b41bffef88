"""What a load sends, where and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NO_END = 1 << 40
"""Number of requests of a load that ends when it is stopped."""
_REFUSED = 503


@dataclass(frozen=True)
class LoadPlan:
    """Complete requests (bytes), sent in turn to one address.

    With a `rate` (requests per second) each is due at its moment, independently of the server: an open loop. Without one,
    a connection sends its next request when the previous one is answered: a closed loop. It may pause in between for `pause_s`,
    or, after a status 503, for `refused_pause_s`.
    """

    host: str
    port: int
    requests: Sequence[bytes]
    connections: int
    """Number of keep-alive connections. 0: one for each request of an open loop, which should ask for `Connection: close`."""
    rate: float | None = None
    due: int = NO_END
    """Number of requests in all."""
    pause_s: float = 0.0
    refused_pause_s: float = 0.0

    def pause_after_s(self, status: int) -> float:
        """Return how long a connection rests after a response; `status` is 0 for a connection that has had none."""
        if not status:
            return 0.0
        return self.refused_pause_s if status == _REFUSED else self.pause_s
