"""The phases of a start, for `--print-timing`: from exec to a worker that answers.

The arbiter ends each phase with `end_phase`; a worker inherits the times through the fork and ends the last one. Wall time
counts from the creation of the process, as the kernel recorded it (in steps of 10 ms); processor time is that of the arbiter
until the fork, then the worker's own.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_START_TIME = 19
"""Index of `starttime` (proc_pid_stat(5)) among the fields behind the name of the program."""


class StartTiming:
    """Wall and processor time of each phase so far, in milliseconds."""

    __slots__ = ("_cpu_s", "_wall_s", "cpu_ms", "wall_ms")

    def __init__(self) -> None:
        self.wall_ms: dict[str, float] = {}
        self.cpu_ms: dict[str, float] = {}
        self._wall_s = _created_s()
        self._cpu_s = 0.0

    def end_phase(self, name: str) -> None:
        """End the current phase, which gets this name; the next one begins."""
        wall_s, cpu_s = time.monotonic(), time.process_time()
        self.wall_ms[name] = round(1e3 * (wall_s - self._wall_s), 1)
        # A forked process counts from 0.
        self.cpu_ms[name] = round(1e3 * (cpu_s - self._cpu_s if cpu_s >= self._cpu_s else cpu_s), 1)
        self._wall_s, self._cpu_s = wall_s, cpu_s

    def facts(self) -> dict[str, object]:
        """Return what the log event says."""
        return {"ms": round(sum(self.wall_ms.values()), 1), "wall_ms": self.wall_ms, "cpu_ms": self.cpu_ms}


def _created_s() -> float:
    """Return when this process was created, on the monotonic clock."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    ago_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[_START_TIME]) / _TICKS_A_SECOND
    return time.monotonic() - max(0.0, ago_s)
