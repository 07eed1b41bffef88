"""Returns memory that the allocator holds but does not use to the system."""

from __future__ import annotations

import ctypes


def trim_memory() -> None:
    """Return free memory to the system, where the C library can: glibc has `malloc_trim`, musl and macOS do not."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
