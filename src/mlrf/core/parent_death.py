"""Ends a child process when its parent ends, even if the parent was killed, by a signal that Linux sends."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Arrange that this process gets a signal when its parent, the process `parent`, ends; at once if it has ended already.

    The setting survives exec, but not fork. Linux sends the signal when the thread of the parent that forked ends, so fork in
    the main thread.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)
