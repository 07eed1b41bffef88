"""What an operator may choose for the answers that a server keeps."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlrf.features.place import SHARED_SCHEMES
from mlrf.serving.option import Group, option, seconds

_SIZE = re.compile(r"([0-9]{1,15}) ?((?:[KMG]i)?B?)", re.ASCII | re.IGNORECASE)
_SHIFTS = {"": 0, "b": 0, "ki": 10, "kib": 10, "mi": 20, "mib": 20, "gi": 30, "gib": 30}
MIN_WORKER_BYTES = 64 << 10
"""With less a worker would keep a handful of answers."""


def _check_size(text: str) -> str | None:
    return None if _SIZE.fullmatch(text) else f"{text!r} is no size such as 16MiB, 512KiB, 65536 or 0"


def _check_url(url: str) -> str | None:
    if url.startswith(SHARED_SCHEMES):
        return None
    return f"an address begins with {', '.join(SHARED_SCHEMES)}"


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """The answers that the workers of a server keep, all together."""

    cache: str = option(
        "16MiB",
        "memory for answers given before, of all workers; 0: none",
        group=Group.CACHE,
        metavar="SIZE",
        check=_check_size,
    )
    cache_ttl_s: float | None = option(
        None, "how long an answer may be given again (for ever)", group=Group.CACHE, kind=float, check=seconds()
    )

    shared_cache: str | None = option(
        None, "redis://HOST:PORT/0 of answers that servers share, for those dearer than a round trip (none)",
        group=Group.CACHE, kind=str, metavar="URL", check=_check_url, secret=True,
    )  # fmt: skip

    @property
    def size_bytes(self) -> int:
        """The size of `cache`."""
        matched = _SIZE.fullmatch(self.cache)
        if matched is None:
            raise ValueError(self.cache)
        return int(matched[1]) << _SHIFTS[matched[2].lower()]
