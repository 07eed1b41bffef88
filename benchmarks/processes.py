"""A tree of processes as the kernel accounts for it: processor time, memory, and the sockets each one holds.

Processor time is the figure that neighbours on a shared machine change least: requests a second of it stay put while
requests a second of the clock follow whoever else is compiling.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_KIB = 1024
_ESTABLISHED = "01"
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def tree(root: int) -> list[int]:
    """Return a process and all its descendants that live."""
    found = [root]
    for pid in found:
        try:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        except OSError:
            continue  # it ended between the two looks
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of a process tree, descendants that have ended and been waited for included."""
    return sum(map(_cpu_seconds, tree(root)))


def _cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    # utime, stime, cutime, cstime (proc_pid_stat(5)); `fields` begins at the third.
    return sum(map(int, fields[11:15])) / _TICKS_A_SECOND


def pss_bytes(root: int) -> int:
    """Proportional set size of a process tree: a page that n processes share counts 1/n for each."""
    return sum(_rollup(pid).get("Pss", 0) for pid in tree(root))


def pss_without_files_bytes(root: int) -> int:
    """The part of `pss_bytes` that no file backs: it cannot shrink because a stranger maps the same library."""
    return sum(sum(_rollup(pid).get(name, 0) for name in ("Pss_Anon", "Pss_Shmem")) for pid in tree(root))


def _rollup(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        return {}
    return {name: int(rest.split()[0]) * _KIB for name, _, rest in (line.partition(":") for line in lines)}


def connections_by_process(root: int, port: int) -> dict[int, int]:
    """How many established connections to `port` each process of a tree holds, those with none left out."""
    accepted = _established(port)
    held = {pid: len(_sockets(pid) & accepted) for pid in tree(root)}
    return {pid: count for pid, count in held.items() if count}


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
