"""Returns memory that the allocator holds but does not use to the system."""

from __future__ import annotations

import ctypes

_LIBC = ctypes.CDLL(None)


def trim_memory() -> None:
    """Return free memory to the system, where the C library can (glibc)."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
