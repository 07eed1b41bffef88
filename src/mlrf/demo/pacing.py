"""When the requests of a load are due, to better than a millisecond."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable

# Short enough that stopping a slow load does not wait for its next beat.
_LONGEST_SLEEP_S = 0.1


class Pacer:
    """Wakes the event loop at each moment a request is due: `started_at + n / rate` on the performance counter.

    A thread that sleeps by the kernel's fine clock: timers of the event loop have a grain of a millisecond, and at a
    thousand requests a second that grain would be most of the latency measured.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, wake: Callable[[], None], *, started_at: float, rate: float, due: int
    ) -> None:
        self._loop, self._wake, self._started_at, self._rate, self._due = loop, wake, started_at, rate, due
        self._stopped = False
        self._thread = threading.Thread(target=self._beat, name="pacemaker", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self) -> None:
        """Beat no more; returns when the thread has ended."""
        self._stopped = True
        self._thread.join()

    def _beat(self) -> None:
        number = 0
        while number < self._due and not self._stopped:
            pause_s = self._started_at + number / self._rate - time.perf_counter()
            if pause_s > 0:
                time.sleep(min(pause_s, _LONGEST_SLEEP_S))
                continue
            self._loop.call_soon_threadsafe(self._wake)
            # All that are due by now go out on this one wake; the next is for the first that is not.
            number = max(number + 1, math.ceil((time.perf_counter() - self._started_at) * self._rate))
