"""Messages between a server and its fetcher: the task, and the state of the stores."""

from __future__ import annotations

import msgspec


class FetcherTask(msgspec.Struct, frozen=True):
    """What a fetcher is to do, as it is written to its standard input."""

    addresses: list[str]
    cache: str
    pause_s: float
    log_level: str
    reports: int
    """Descriptor to which reports go, a JSON line each."""


class StoreReport(msgspec.Struct, frozen=True):
    """The state of all stores after a look."""

    up: bool
    """Whether the last look at each succeeded."""
    ready: bool
    """Whether each has a version in the cache to serve."""
    reason: str = ""
    """Why one is not up."""
