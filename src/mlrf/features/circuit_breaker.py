"""A breaker: who does not answer is not asked again until it has answered a probe, so that nobody waits for it in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_FAILURES = 3
"""In a row: one answer that is late may be our own fault."""
PROBE_EVERY_S = 0.25


class Breaker:
    """Counts failures; from the third in a row it is open, until somebody who probes closes it."""

    def __init__(self, *, is_open: bool = False) -> None:
        self.is_open = is_open
        """Whether asking is of no use now."""
        self.reason = ""
        """Why it is open."""
        self._failures = 0

    def succeeded(self) -> None:
        """Count an answer."""
        self._failures = 0

    def failed(self, reason: str) -> bool:
        """Count a question without an answer; whether it opened the breaker."""
        self._failures += 1
        self.reason = reason
        if self.is_open or self._failures < _FAILURES:
            return False
        self.is_open = True
        return True

    def close(self) -> None:
        """Let everybody ask again: a probe was answered."""
        self.is_open = False
        self._failures = 0


class ProbingBreaker(Breaker):
    """Probes by itself: in the background from when it opens until `probe` succeeds within a limit, which closes it."""

    def __init__(self, probe: Callable[[], Awaitable[object]], probe_limit_s: float) -> None:
        super().__init__()
        self._probe = probe
        self._probe_limit_s = probe_limit_s
        self._probing: asyncio.Task[None] | None = None

    def failed(self, reason: str) -> bool:
        """Count a question without an answer, and probe if it opened the breaker; whether it did."""
        opened = super().failed(reason)
        if opened:
            self._probing = asyncio.get_running_loop().create_task(self._probe_until_answered())
        return opened

    def stop(self) -> None:
        """Probe no more."""
        if self._probing is not None:
            self._probing.cancel()
            self._probing = None

    async def _probe_until_answered(self) -> None:
        while self.is_open:
            await asyncio.sleep(PROBE_EVERY_S)
            try:
                async with asyncio.timeout(self._probe_limit_s):
                    await self._probe()
            except Exception as error:  # noqa: BLE001  whatever it is, it is no answer
                self.reason = str(error) or type(error).__name__
            else:
                self.close()
