"""Options that limit connections and requests, over HTTP and gRPC alike: bytes, header fields and seconds."""

from __future__ import annotations

import msgspec

from mlrf.serving.option import Group, at_least, option, seconds

_MIN_HEADER_BYTES = 256
"""Bytes of the shortest head that common clients send."""


class RequestLimits(msgspec.Struct, frozen=True):
    """Limits of one connection and its requests; `oip/grpc/limits.py` says which apply to gRPC."""

    max_body_bytes: int = option(
        8 << 20, "maximum size of a request body in bytes; beyond it 413", group=Group.LIMITS, check=at_least(1)
    )
    max_header_bytes: int = option(
        32 << 10,
        "maximum size of a request head in bytes; beyond it 431",
        group=Group.LIMITS,
        check=at_least(_MIN_HEADER_BYTES),
    )
    max_header_fields: int = option(
        100, "maximum number of header fields in a request; beyond it 431", group=Group.LIMITS, check=at_least(1)
    )
    max_connections: int = option(
        10_000, "maximum number of open connections per worker", group=Group.LIMITS, check=at_least(1)
    )
    max_wait_s: float = option(
        0.5, "seconds a request may wait before its work begins, unless the request has its own timeout; beyond it 503",
        group=Group.REQUESTS, check=seconds(),
    )  # fmt: skip
    header_timeout_s: float = option(
        5.0,
        "seconds from the first byte of a request to the end of its head; beyond it 408",
        group=Group.LIMITS,
        check=seconds(),
    )
    request_timeout_s: float = option(
        7.5, "seconds from the first byte of a request to its last; beyond it 408", group=Group.LIMITS, check=seconds()
    )
    idle_timeout_s: float = option(75.0, "seconds an idle connection is kept open", group=Group.LIMITS, check=seconds())
    write_timeout_s: float = option(
        5.0, "seconds a client may leave a response unread", group=Group.LIMITS, check=seconds()
    )
