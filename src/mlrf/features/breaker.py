"""A breaker: who does not answer is not asked again until it has answered a probe, so that nobody waits for it in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_FAILURES = 3
"""In a row: one answer that is late may be our own fault."""
_PROBE_EVERY_S = 0.25


class Breaker:
    """Counts failures; from the third in a row it is open, and probes in the background until one succeeds."""

    def __init__(self, probe: Callable[[], Awaitable[object]], probe_limit_s: float) -> None:
        self._probe = probe
        self._probe_limit_s = probe_limit_s
        self._failures = 0
        self._probing: asyncio.Task[None] | None = None
        self.reason = ""
        """Why it is open."""

    @property
    def is_open(self) -> bool:
        """Whether asking is of no use now."""
        return self._probing is not None

    def succeeded(self) -> None:
        """Count an answer."""
        self._failures = 0

    def failed(self, reason: str) -> None:
        """Count a question without an answer."""
        self._failures += 1
        self.reason = reason
        if self._failures >= _FAILURES and self._probing is None:
            self._probing = asyncio.get_running_loop().create_task(self._probe_until_answered())

    def close(self) -> None:
        """Probe no more."""
        if self._probing is not None:
            self._probing.cancel()
            self._probing = None

    async def _probe_until_answered(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_EVERY_S)
            try:
                async with asyncio.timeout(self._probe_limit_s):
                    await self._probe()
            except Exception as error:  # noqa: BLE001  whatever it is, it is no answer
                self.reason = str(error) or type(error).__name__
                continue
            self._failures = 0
            self._probing = None
            return
