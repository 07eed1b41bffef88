"""Options of the response cache."""

from __future__ import annotations

import os
import re

import msgspec

from mlrf.core.lazy_pattern import lazy_pattern
from mlrf.features.redis_address import wrong_in_redis_address
from mlrf.serving.option import Group, option, seconds

_SIZE = lazy_pattern(r"([0-9]{1,15}) ?((?:[KMG]i)?B?)", re.ASCII | re.IGNORECASE)
_SHIFTS = {"": 0, "b": 0, "ki": 10, "kib": 10, "mi": 20, "mib": 20, "gi": 30, "gib": 30}
MIN_WORKER_BYTES = 64 << 10
"""Least cache memory of a worker: with less, it could store only a few answers."""


def _check_size(text: str) -> str | None:
    matched = _SIZE.fullmatch(text)
    if matched is None:
        return f"{text!r} is not a size such as 16MiB, 512KiB, 65536 or 0"
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (
        None if _bytes_of(matched) <= memory_bytes else f"{text!r} is more than this machine's memory ({memory_bytes})"
    )


def _bytes_of(size: re.Match[str]) -> int:
    return int(size[1]) << _SHIFTS[size[2].lower()]


class CacheSettings(msgspec.Struct, frozen=True):
    """The answer cache of all workers of a server together."""

    cache: str = option(
        "16MiB",
        "memory for cached answers, all workers together, e.g. 64MiB; 0 for no cache",
        group=Group.CACHE,
        metavar="SIZE",
        check=_check_size,
    )
    cache_ttl_s: float | None = option(
        None,
        "seconds that a cached answer may be reused (default: no limit)",
        group=Group.CACHE,
        kind=float,
        check=seconds(),
    )

    shared_cache: str | None = option(
        None,
            "Redis for cached answers that servers share, as redis://HOST:PORT/0; used for answers that cost more than a "
            "round trip (default: none)",
        group=Group.CACHE, kind=str, metavar="URL", check=wrong_in_redis_address, secret=True,
    )  # fmt: skip

    @property
    def size_bytes(self) -> int:
        """The size of `cache`."""
        matched = _SIZE.fullmatch(self.cache)
        if matched is None:
            raise ValueError(self.cache)
        return _bytes_of(matched)
