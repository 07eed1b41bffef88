"""Limits of HTTP connections and requests: bytes, header fields and seconds."""

from __future__ import annotations

from dataclasses import dataclass

from mlrf.serving.option import Group, at_least, option, seconds

_MIN_HEADER_BYTES = 256
"""Bytes of the shortest head that common clients send."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of one connection and its requests."""

    max_body_bytes: int = option(8 << 20, "largest body", group=Group.LIMITS, check=at_least(1))
    max_header_bytes: int = option(32 << 10, "largest head", group=Group.LIMITS, check=at_least(_MIN_HEADER_BYTES))
    max_header_fields: int = option(100, "most headers", group=Group.LIMITS, check=at_least(1))
    max_connections: int = option(10_000, "connections open at once, a worker", group=Group.LIMITS, check=at_least(1))
    max_wait_s: float = option(
        0.5, "Seconds a request may wait before its work begins, unless it names a time of its own; else 503",
        group=Group.REQUESTS, check=seconds(),
    )  # fmt: skip
    header_timeout_s: float = option(
        5.0, "from a request's first byte to the end of its head", group=Group.LIMITS, check=seconds()
    )
    request_timeout_s: float = option(
        7.5, "from a request's first byte to its last", group=Group.LIMITS, check=seconds()
    )
    idle_timeout_s: float = option(75.0, "of a kept connection", group=Group.LIMITS, check=seconds())
    write_timeout_s: float = option(5.0, "of a client that does not read", group=Group.LIMITS, check=seconds())
