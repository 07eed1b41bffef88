"""A circuit breaker: after repeated failures of a server, calls fail at once until a probe succeeds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_FAILURES = 3
"""Consecutive failures that open the breaker; a single late response may be caused by this process."""
PROBE_EVERY_S = 0.25


class Breaker:
    """Counts failures; the third in a row opens it, and a successful probe closes it."""

    def __init__(self, *, is_open: bool = False) -> None:
        self.is_open = is_open
        """Whether calls should fail at once."""
        self.reason = ""
        """Why it is open."""
        self._failures = 0

    def succeeded(self) -> None:
        """Count a success."""
        self._failures = 0

    def failed(self, reason: str) -> bool:
        """Count a failure; return whether it opened the breaker."""
        self._failures += 1
        self.reason = reason
        if self.is_open or self._failures < _FAILURES:
            return False
        self.is_open = True
        return True

    def close(self) -> None:
        """Close the breaker, after a successful probe."""
        self.is_open = False
        self._failures = 0


class ProbingBreaker(Breaker):
    """A breaker that probes in the background from when it opens until `probe` succeeds within a limit, which closes it."""

    def __init__(self, probe: Callable[[], Awaitable[object]], probe_limit_s: float) -> None:
        super().__init__()
        self._probe = probe
        self._probe_limit_s = probe_limit_s
        self._probing: asyncio.Task[None] | None = None

    def failed(self, reason: str) -> bool:
        """Count a failure, and start probing if it opened the breaker; return whether it did."""
        opened = super().failed(reason)
        if opened:
            self._probing = asyncio.get_running_loop().create_task(self._probe_until_answered())
        return opened

    def stop(self) -> None:
        """Stop probing."""
        if self._probing is not None:
            self._probing.cancel()
            self._probing = None

    async def _probe_until_answered(self) -> None:
        while self.is_open:
            await asyncio.sleep(PROBE_EVERY_S)
            try:
                async with asyncio.timeout(self._probe_limit_s):
                    await self._probe()
            except Exception as error:  # noqa: BLE001  any error is a failed probe
                self.reason = str(error) or type(error).__name__
            else:
                self.close()
