"""Returns memory that the allocator holds but does not use to the system."""

from __future__ import annotations

from mlrf.core.c_library import c_function


def trim_memory() -> None:
    """Return free memory to the system, where the C library can (glibc)."""
    trim = c_function("malloc_trim")
    if trim is not None:
        trim(0)
