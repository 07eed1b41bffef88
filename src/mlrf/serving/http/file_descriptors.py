"""The limit of file descriptors, and how many connections fit under it."""

from __future__ import annotations

import resource

_SPARE = 128
"""Descriptors reserved for the listener, engines, logs, stores and reloads, however many clients connect."""
OVER_LIMIT = 64
"""Connections beyond the limit that may be open briefly, to get a 503 or to use a route that always answers."""


def connections_that_fit(requested: int) -> int:
    """Raise this process's descriptor limit for `requested` connections; return how many connections fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = requested + OVER_LIMIT + _SPARE
    granted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft == resource.RLIM_INFINITY or soft >= granted:
        granted = soft if soft != resource.RLIM_INFINITY else needed
    else:
        resource.setrlimit(resource.RLIMIT_NOFILE, (granted, hard))
    return max(1, min(requested, granted - OVER_LIMIT - _SPARE))
