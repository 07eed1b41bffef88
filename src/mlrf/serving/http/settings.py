"""Limits of HTTP connections and requests: bytes, header fields and seconds."""

from __future__ import annotations

from dataclasses import dataclass

from mlrf.serving.option import Group, at_least, option, seconds

_MIN_HEADER_BYTES = 256
"""Bytes of the shortest head that common clients send."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Limits of one connection and its requests."""

    max_body_bytes: int = option(
        8 << 20, "Bytes of the largest request body; else 413", group=Group.LIMITS, check=at_least(1)
    )
    max_header_bytes: int = option(
        32 << 10, "Bytes of the largest request head; else 431", group=Group.LIMITS, check=at_least(_MIN_HEADER_BYTES)
    )
    max_header_fields: int = option(
        100, "Most header fields of a request; else 431", group=Group.LIMITS, check=at_least(1)
    )
    max_connections: int = option(
        10_000, "Most connections open at once, per worker", group=Group.LIMITS, check=at_least(1)
    )
    max_wait_s: float = option(
        0.5, "Seconds a request may wait before its work begins, unless it names a time of its own; else 503",
        group=Group.REQUESTS, check=seconds(),
    )  # fmt: skip
    header_timeout_s: float = option(
        5.0, "Seconds from a request's first byte to the end of its head; else 408", group=Group.LIMITS, check=seconds()
    )
    request_timeout_s: float = option(
        7.5, "Seconds from a request's first byte to its last; else 408", group=Group.LIMITS, check=seconds()
    )
    idle_timeout_s: float = option(75.0, "Seconds an idle connection is kept open", group=Group.LIMITS, check=seconds())
    write_timeout_s: float = option(
        5.0, "Seconds a client may leave a response unread", group=Group.LIMITS, check=seconds()
    )
