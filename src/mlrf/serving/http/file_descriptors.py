"""File descriptors: as many as the system grants, and fewer connections than those."""

from __future__ import annotations

import resource

_SPARE = 128
"""For the listener, the engines, logs, stores and what a reload opens: a crowd of clients must leave these."""
OVER_LIMIT = 64
"""How many connections beyond the limit may be open for a moment, to be refused in words or to ask for what always answers."""


def connections_that_fit(wanted: int) -> int:
    """Raise this process's own limit of descriptors as far as `wanted` connections need; return how many then fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + OVER_LIMIT + _SPARE
    granted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft == resource.RLIM_INFINITY or soft >= granted:
        granted = soft if soft != resource.RLIM_INFINITY else needed
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    return max(1, min(wanted, granted - OVER_LIMIT - _SPARE))
