"""The memory that this process has for itself."""

from __future__ import annotations

import ctypes
from pathlib import Path
from resource import getpagesize

_STATM = Path("/proc/self/statm")
_PAGE_BYTES = getpagesize()


def footprint_bytes() -> int:
    """Return the anonymous memory of this process in bytes; 0 if the system does not report it."""
    try:
        fields = _STATM.read_bytes().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES


def trim_memory() -> None:
    """Return free memory to the system, if the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
