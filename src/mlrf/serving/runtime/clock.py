"""The worker's coarse clock: read on every request, set twice a second."""

from __future__ import annotations

import time

from mlrf.serving.runtime.http_date import http_date


class Clock:
    """`now` in seconds of the monotonic clock, and the Date header line of this second."""

    __slots__ = ("date_line", "now")

    def __init__(self) -> None:
        self.now = 0.0
        self.date_line = b""
        self.tick()

    def tick(self) -> None:
        """Read the real clocks."""
        self.now = time.monotonic()
        self.date_line = f"Date: {http_date(time.time())}\r\n".encode()
