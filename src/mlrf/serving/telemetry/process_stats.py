"""Memory, descriptors and threads of a server process, read from /proc when metrics are scraped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FIGURES = (
    ("mlrf_process_resident_memory_bytes", "Resident memory; shared pages count in each process."),
    ("mlrf_process_open_fds", "Open file descriptors."),
    ("mlrf_process_max_fds", "Limit on open file descriptors."),
    ("mlrf_process_threads", "Threads."),
    ("mlrf_process_start_time_seconds", "When the process started."),
)
"""Name and help of each gauge of a process, in the order of the values that `read_figures` returns."""


def read_figures(pid: int) -> tuple[float, ...] | None:
    """Return the figures of a process in the order of FIGURES; None when it has ended."""
    try:
        return tuple(_figures(Path(f"/proc/{pid}")))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def _figures(folder: Path) -> Iterator[float]:
    # The command's name, in parentheses, may contain spaces and parentheses itself.
    fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
    yield int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    yield len(os.listdir(folder / "fd"))  # noqa: PTH208  names are not needed
    limits = (folder / "limits").read_text(encoding="utf-8")
    soft = limits.partition("Max open files")[2].split()[0]
    yield float("inf") if soft == "unlimited" else int(soft)
    yield int(fields[17])
    yield round(_booted_s() + int(fields[19]) / os.sysconf("SC_CLK_TCK"), 2)


@cache
def _booted_s() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
