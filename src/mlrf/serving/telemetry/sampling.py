"""Samples requests at random; a request that is not sampled costs only a countdown."""

from __future__ import annotations

import math
import random

NEVER = 1 << 62


class Sampler:
    """Picks requests at random at a rate of 0 to 1; every n-th would always be the same of n requests that repeat in turn."""

    def __init__(self, rate: float, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311  nothing secret
        # The logarithm of 1 - rate, without rounding the difference; not needed if every request is picked.
        self._log_miss = math.log1p(-rate) if 0 < rate < 1 else 0.0
        self._rate = rate
        self.due = self._gap()
        """The number of the next request that is picked, counted from 0."""

    def picks(self, number: int) -> bool:
        """Whether the request with this number is picked; numbers must ascend, and none that is due may be left out."""
        if number < self.due:
            return False
        self.due = number + 1 + self._gap()
        return True

    def _gap(self) -> int:
        """Draw how many requests pass before the next that is picked."""
        if self._rate <= 0:
            return NEVER
        if self._rate >= 1:
            return 0
        return min(NEVER, int(math.log(1.0 - self._random.random()) / self._log_miss))
