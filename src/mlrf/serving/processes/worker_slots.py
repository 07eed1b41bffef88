"""Worker slots: when the next worker of a slot may start, and when to stop trying."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import msgspec

_STEADY_S = 10.0
"""A worker that ran this long resets the back-off of its slot."""
_FIRST_DELAY_S = 0.5
_LAST_DELAY_S = 30.0
_LAST_DELAY_ALONE_S = 1.0
"""Limit of the pause while no other worker answers, because callers wait for the next one."""
BOOT_TRIES = 3
"""Number of attempts per slot before the first answer ever, if workers end without a reason."""
_EXIT_FAILED = 1


class Slot(msgspec.Struct):
    """A worker slot: how often its last workers failed, and when the next may start."""

    listener: socket.socket
    exit_code: int = 0
    """The exit code of the service if it ends because this slot's last worker could not start; 0 if that worker started."""
    failures: int = 0
    started_s: float = 0.0
    due_s: float = 0.0
    pid: int = 0

    def failed(self, now_s: float, *, alone: bool) -> float:
        """Record that the worker ended unexpectedly, and return the pause before the next; `alone` if no other worker answers.

        The first failed worker is replaced at once; repeated failures lead to longer pauses.
        """
        self.failures = 1 if now_s - self.started_s >= _STEADY_S else self.failures + 1
        last_s = _LAST_DELAY_ALONE_S if alone else _LAST_DELAY_S
        delay_s = 0.0 if self.failures < 2 else min(last_s, _FIRST_DELAY_S * 2.0 ** (self.failures - 2))  # noqa: PLR2004
        self.due_s = now_s + delay_s
        return delay_s

    def shorten_delay(self, now_s: float) -> None:
        """Shorten the pause to that of a slot while no worker answers."""
        self.due_s = min(self.due_s, now_s + _LAST_DELAY_ALONE_S)

    def exited(self) -> None:
        """Record that the worker ended on request: the next may start at once."""
        self.failures, self.due_s = 0, 0.0


def boot_failure_status(slots: Sequence[Slot]) -> int:
    """Return the exit code of a service that cannot start, 0 while a worker may still become ready.

    That is, every slot's last worker stored why it cannot start, or every slot was tried so often that another attempt is
    pointless.
    """
    if all(slot.exit_code for slot in slots):
        return slots[0].exit_code
    if all(slot.exit_code or slot.failures >= BOOT_TRIES for slot in slots):
        return next((slot.exit_code for slot in slots if slot.exit_code), _EXIT_FAILED)
    return 0
