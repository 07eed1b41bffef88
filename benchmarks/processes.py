"""A process tree in the operating system's accounting: processor time, memory, and the sockets of each process.

Other load on a shared machine changes processor time least: requests per second of it stay the same, while
requests per second of wall time depend on the other load.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_KIB = 1024
_ESTABLISHED = "01"
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def tree(root: int) -> list[int]:
    """Return a process and all its live descendants."""
    found = [root]
    for pid in found:
        try:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        except OSError:
            continue  # it ended between the two reads
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of a process tree, descendants that have ended and been waited for included."""
    return sum(map(_cpu_seconds, tree(root)))


def live_cpu_seconds(root: int) -> float:
    """Processor time of the live threads of a process tree to the nanosecond, without descendants that have ended."""
    total_ns = 0
    for pid in tree(root):
        for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total_ns += int(schedstat.read_text().split()[0])
    return total_ns / 1e9


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # utime, stime, cutime, cstime (proc_pid_stat(5)); `fields` starts at the third.
    return sum(map(int, fields[11:15])) / _TICKS_A_SECOND


def pss_bytes(root: int) -> int:
    """Proportional set size of a process tree: a page that n processes share counts 1/n for each."""
    return sum(map(pss_of, tree(root)))


def pss_of(pid: int) -> int:
    """Proportional set size of one process, in bytes."""
    return _rollup(pid).get("Pss", 0)


def pss_without_files_bytes(root: int) -> int:
    """The anonymous part of `pss_bytes`, which does not shrink when another program maps the same library."""
    return sum(sum(_rollup(pid).get(name, 0) for name in ("Pss_Anon", "Pss_Shmem")) for pid in tree(root))


def _rollup(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {name: int(rest.split()[0]) * _KIB for name, _, rest in (line.partition(":") for line in lines)}


def connections_by_process(root: int, port: int) -> dict[int, int]:
    """The number of established connections to `port` of each process of a tree that has any."""
    accepted = _established(port)
    counts = {pid: len(_sockets(pid) & accepted) for pid in tree(root)}
    return {pid: count for pid, count in counts.items() if count}


def _established(port: int) -> set[str]:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == _ESTABLISHED and int(row[1].rpartition(":")[2], 16) == port}


def _sockets(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            matched = _SOCKET.fullmatch(str(link.readlink()))
        except OSError:
            continue
        if matched:
            found.add(matched[1])
    return found
