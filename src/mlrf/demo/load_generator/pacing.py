"""Paces the requests of a load, to better than a millisecond."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable

# Short enough that stopping a slow load does not wait for its next request.
_LONGEST_SLEEP_S = 0.1


class Pacer:
    """Wakes the event loop at each moment a request is due: `started_at + n / rate` on the performance counter.

    A thread that sleeps with the operating system's fine clock: the event loop's timers have a resolution of a millisecond, and
    at a thousand requests a second that would be most of the measured latency.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None], *, started_at: float, rate: float, due: int
    ) -> None:
        self._loop, self._wake, self._started_at, self._rate, self._due = loop, wake, started_at, rate, due
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="pacemaker", daemon=True)

    def start(self) -> None:
        """Start."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; returns when the thread has ended."""
        self._stopped = True
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while number < self._due and not self._stopped:
            pause_s = self._started_at + number / self._rate - time.perf_counter()
            if pause_s > 0:
                time.sleep(min(pause_s, _LONGEST_SLEEP_S))
                continue
            self._loop.call_soon_threadsafe(self._wake)
            # This wake-up sends all requests that are due; the next is for the first that is not.
            number = max(number + 1, math.ceil((time.perf_counter() - self._started_at) * self._rate))
