"""Retries: which failures are retried, how long to wait, and how many extra requests a client may send.

1. A retry never outlives the deadline of its call.
2. Over time, retries add at most a tenth to a client's requests: each first attempt earns a tenth of a retry, and at most
   ten are saved. When a server is down, its clients do not multiply its load.
3. Waits grow exponentially from 50 ms to 2 s with full jitter, and are never shorter than the server's Retry-After.
"""

from __future__ import annotations

import random
import threading

EARNED_PER_REQUEST = 0.1
MOST_SAVED = 10.0
_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 2.0


class RetryBudget:
    """The retries that a client may still make; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._saved = MOST_SAVED

    def earn(self) -> None:
        """Count a first attempt."""
        with self._lock:
            self._saved = min(MOST_SAVED, self._saved + EARNED_PER_REQUEST)

    def spend(self) -> bool:
        """Take one retry from the budget; False if it is empty."""
        with self._lock:
            if self._saved < 1.0:
                return False
            self._saved -= 1.0
            return True


def wait_s(attempt: int, retry_after_s: float) -> float:
    """Return the seconds to wait before retry number `attempt` (from 0)."""
    longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
    return retry_after_s + random.uniform(0.0, longest)  # noqa: S311  jitter, not a secret
