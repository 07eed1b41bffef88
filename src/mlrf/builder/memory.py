"""Compares the memory that a build will need with the available memory, before it is used.

The estimates are lower bounds: a build that they refuse could not have succeeded.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from mlrf.core.errors import BuildError

_MEMORY_INFO = Path("/proc/meminfo")
_PROCESS = Path("/proc/self/statm")
_CONTROL_GROUP = Path("/sys/fs/cgroup")
_MIB = 1 << 20
_NOT_MAPPED = ("failed to map segment", "cannot allocate memory")
"""How the dynamic linker says that there is no memory for a library."""


def require_memory(size_bytes: int, purpose: str) -> None:
    """Raise BuildError if `size_bytes` exceed the memory that this process can still get; `purpose` says what needs them."""
    available = available_bytes()
    if available is not None and size_bytes > available:
        raise BuildError(
            f"{purpose} needs at least {_mebibytes(size_bytes)} of memory, but {_mebibytes(available)} are available; "
            "build on a machine, or in a container, with more"
        )


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory ran out: MemoryError, or too little of it to map a compiled package."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, ImportError) and any(text in str(error).lower() for text in _NOT_MAPPED)


def available_bytes() -> int | None:
    """Return the bytes that the machine, the container and this process's address-space limit allow; None where unknown."""
    limits = [limit for limit in (_of_machine(), _of_container(), _of_process()) if limit is not None]
    return max(0, min(limits)) if limits else None


def _of_machine() -> int | None:
    try:
        lines = _MEMORY_INFO.read_text().splitlines()
    except OSError:
        return None
    # Swap counts too: a build that uses some of it is slow, but ends.
    found = [int(line.split()[1]) << 10 for line in lines if line.startswith(("MemAvailable:", "SwapFree:"))]
    return sum(found) if found else None


def _of_container() -> int | None:
    try:
        limit = (_CONTROL_GROUP / "memory.max").read_text().strip()
        statistics = dict(line.split() for line in (_CONTROL_GROUP / "memory.stat").read_text().splitlines())
        # The page cache is dropped when memory runs short, so only the memory of processes counts.
        return None if limit == "max" else int(limit) - int(statistics["anon"])
    except (OSError, ValueError, KeyError):
        return None


def _of_process() -> int | None:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        return limit - int(_PROCESS.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def _mebibytes(size_bytes: int) -> str:
    return f"{max(1, round(size_bytes / _MIB)):,} MiB"
