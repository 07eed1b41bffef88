"""Children that end with their parent, even one that was killed: Linux sends them a signal of their choice."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Have this process sent a signal when its parent, the process `parent`, ends; at once if it has ended already.

    The signal is kept over exec and lost over fork. Linux sends it when the parent's thread ends that forked: call fork there
    in the main thread.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)
