"""The limits of gRPC: how large a message may be, how long it may take, how many streaming calls a worker has.

The largest message and the timeouts are those of HTTP (`serving/request_limits.py`: `--max-body-bytes` and so on).
Streams, header bytes and control frames of a connection are in `http2/limits.py`; how many tensors, parameters and dimensions
a message may have, over gRPC and REST, in `oip/counts.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlrf.serving.http2.limits import Http2Limits
from mlrf.serving.request_limits import RequestLimits

MAX_SMALL_MESSAGE_BYTES = 64 << 10
"""Greatest size of any message except a ModelInferRequest."""
MAX_STREAMING = 4096
"""Most streaming calls of a worker: they may stay open, and must leave some of all calls to those of one message."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Limits of one call."""

    max_message_bytes: int
    """Greatest size of a ModelInferRequest, decompressed."""
    request_timeout_s: float
    """Seconds for the message of a unary call."""
    idle_timeout_s: float
    """Seconds for the next message of a stream."""


def call_limits(limits: RequestLimits) -> CallLimits:
    """Return the limits of calls."""
    return CallLimits(
        max_message_bytes=limits.max_body_bytes,
        request_timeout_s=limits.request_timeout_s,
        idle_timeout_s=limits.idle_timeout_s,
    )


def connection_limits(limits: RequestLimits) -> Http2Limits:
    """Return the limits of the HTTP/2 connections under the calls."""
    return Http2Limits(
        max_connections=limits.max_connections,
        header_timeout_s=limits.header_timeout_s,
        request_timeout_s=limits.request_timeout_s,
        idle_timeout_s=limits.idle_timeout_s,
        write_timeout_s=limits.write_timeout_s,
    )
